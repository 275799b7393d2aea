//! Memory of an entry: the kernel's slab cache `nf_conntrack`.
//!
//! `/proc/slabinfo` (`mm/slab_common.c`, `cache_show`) has a line per cache: name, objects in use, objects, bytes of an
//! object. Only root may read it. Before Linux 4.7 each network namespace has a cache of its own (`nf_conntrack_ADDRESS`).
//! The extensions of an entry (NAT, accounting, time stamps, events) are in other caches and not included.

use crate::reading::SourceError;
use std::path::Path;

/// The file.
pub const SLABINFO: &str = "/proc/slabinfo";

/// Maximum number of bytes read of it: some 2,000 caches. Kernels before 5.9 list those of control groups, too.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// Bytes that an entry takes in its slab.
pub fn entry_size(path: &Path) -> Result<u64, SourceError> {
    let doing = || format!("reading the size of an entry from {}", path.display());
    let text = crate::sys::read_limited(path, MAX_FILE_BYTES)
        .map_err(|cause| SourceError::from_io(doing(), "CAP_DAC_READ_SEARCH", cause))?;
    parse(&text).ok_or_else(|| SourceError::absent(doing(), "it has no cache nf_conntrack"))
}

/// The size of an object of the cache `nf_conntrack`, bytes.
pub fn parse(slabinfo: &str) -> Option<u64> {
    slabinfo.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?;
        let rest = name.strip_prefix("nf_conntrack")?;
        let own =
            rest.strip_prefix('_').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        (rest.is_empty() || own).then(|| words.nth(2)?.parse().ok())?
    })
}
