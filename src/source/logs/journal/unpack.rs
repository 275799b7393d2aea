//! Payloads that are compressed (pure).

use super::object::Compression;
use std::io::Read;

/// Bytes that a compressed payload may have, to be looked at.
pub const PACKED: u64 = 256 * 1024;

/// Bytes that a payload by LZ4, which is decompressed as a whole, may have.
const WHOLE: usize = 1024 * 1024;

/// Bytes that are counted of a longer payload.
const COUNTED: u64 = 64 * 1024 * 1024;

/// The first `most` bytes of what a payload is without its compression, and how many bytes follow them; `None` where that
/// cannot be told.
pub fn unpack(payload: &[u8], packed: Compression, most: usize) -> Option<(Vec<u8>, u64)> {
    match packed {
        Compression::No => {
            let fits = payload.get(..most).unwrap_or(payload);
            Some((fits.to_vec(), (payload.len() - fits.len()) as u64))
        }
        Compression::Lz4 => {
            // The size, then a block (`compress_blob_lz4()` in `src/basic/compress.c` of systemd).
            let (size, block) = payload.split_first_chunk::<8>()?;
            let size = usize::try_from(u64::from_le_bytes(*size)).ok().filter(|size| *size <= WHOLE)?;
            let mut whole = lz4_flex::block::decompress(block, size).ok()?;
            let passed = whole.len().saturating_sub(most) as u64;
            whole.truncate(most);
            Some((whole, passed))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(payload).ok()?;
            let mut fits = Vec::new();
            decoder.by_ref().take(most as u64).read_to_end(&mut fits).ok()?;
            // What cannot be decompressed, because it was not read, is not counted either.
            let passed = std::io::copy(&mut decoder.take(COUNTED), &mut std::io::sink()).unwrap_or_default();
            Some((fits, passed))
        }
        Compression::Other => None,
    }
}
