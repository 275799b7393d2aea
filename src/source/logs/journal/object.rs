//! What a journal file is made of (pure): its header, entries, the data that entries share, and the arrays that list them.
//!
//! The format is `src/libsystemd/sd-journal/journal-def.h` of systemd, described in
//! <https://systemd.io/JOURNAL_FILE_FORMAT>. Numbers are little-endian on every architecture.

/// Bytes of a header that are looked at; the oldest version has as many.
pub const HEADER: usize = 208;

/// Bytes at the beginning of an array of entries, before its items.
pub const ARRAY: usize = 24;

/// Bytes at the beginning of an entry, before its items.
pub const ENTRY: usize = 64;

/// Fields of an entry, at most (`ENTRY_FIELD_COUNT_MAX`).
const FIELDS: usize = 1024;

const SIGNATURE: &[u8] = b"LPKSHHRH";

/// `HEADER_INCOMPATIBLE_*`: compression by XZ, by LZ4, keyed hashes, compression by zstd, 32-bit offsets. The last one
/// changes what is read here; how data is compressed is said at each.
const KNOWN: u32 = 0b1_1111;
const COMPACT: u32 = 1 << 4;

const STATE_ARCHIVED: u8 = 2;

const OBJECT_DATA: u8 = 1;
const OBJECT_ENTRY: u8 = 3;
const OBJECT_ENTRY_ARRAY: u8 = 6;

/// What is wrong with a file or an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatError {
    /// The file has not been written yet.
    Unfinished,
    /// The file is no journal.
    Signature,
    /// The file has a feature that is not known, and cannot be read without.
    Feature(u32),
    /// An object is not where it should be, or is not what it should be.
    Object(&'static str),
}

/// The header of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalHeader {
    /// Whether offsets have 32 bits.
    pub compact: bool,
    /// Whether nothing is written to it any more.
    pub archived: bool,
    /// The machine whose journal it is.
    pub machine: [u8; 16],
    /// Where the last object begins.
    pub tail: u64,
    /// Entries there are.
    pub entries: u64,
    /// Where the first array of entries is; 0 where there is no entry.
    pub array: u64,
}

/// Reads a header.
pub fn header(bytes: &[u8]) -> Result<JournalHeader, FormatError> {
    let signature = bytes.get(..SIGNATURE.len()).ok_or(FormatError::Unfinished)?;
    if signature.iter().all(|byte| *byte == 0) {
        return Err(FormatError::Unfinished);
    }
    if signature != SIGNATURE {
        return Err(FormatError::Signature);
    }
    let long = |at| number(bytes, at).ok_or(FormatError::Unfinished);
    let features = short(bytes, 12).ok_or(FormatError::Unfinished)?;
    if features & !KNOWN != 0 {
        return Err(FormatError::Feature(features & !KNOWN));
    }
    let machine = bytes.get(40..56).and_then(|id| id.try_into().ok()).ok_or(FormatError::Unfinished)?;
    Ok(JournalHeader {
        compact: features & COMPACT != 0,
        archived: bytes.get(16) == Some(&STATE_ARCHIVED),
        machine,
        tail: long(136)?,
        entries: long(152)?,
        array: long(176)?,
    })
}

/// How many entries an array has room for, and where the next array is; 0 where there is none.
pub fn array(bytes: &[u8], compact: bool) -> Result<(u64, u64), FormatError> {
    let size = object(bytes, OBJECT_ENTRY_ARRAY, ARRAY).ok_or(FormatError::Object("an array of entries"))?;
    let next = number(bytes, 16).ok_or(FormatError::Object("an array of entries"))?;
    Ok(((size - ARRAY as u64) / item(compact), next))
}

/// Bytes of an item of an array.
pub fn item(compact: bool) -> u64 {
    if compact { 4 } else { 8 }
}

/// An item of an array: where an entry is.
pub fn place(bytes: &[u8], compact: bool) -> Option<u64> {
    if compact { short(bytes, 0).map(u64::from) } else { number(bytes, 0) }
}

/// Bytes of the entry that begins here.
pub fn entry(bytes: &[u8]) -> Result<usize, FormatError> {
    let size = object(bytes, OBJECT_ENTRY, ENTRY).and_then(|size| usize::try_from(size).ok());
    size.filter(|size| *size <= ENTRY + FIELDS * 16).ok_or(FormatError::Object("an entry"))
}

/// When an entry was written, in microseconds since 1970.
pub fn time(entry: &[u8]) -> Option<u64> {
    number(entry, 24)
}

/// Where the data of an entry is.
pub fn data_of(entry: &[u8], compact: bool) -> impl Iterator<Item = u64> {
    let items = entry.get(ENTRY..).unwrap_or_default().chunks_exact(if compact { 4 } else { 16 });
    items.filter_map(move |item| place(item, compact)).take_while(|place| *place != 0)
}

/// How data is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    No,
    /// By LZ4.
    Lz4,
    /// By zstd.
    Zstd,
    /// In a way that is not read here, such as XZ.
    Other,
}

/// A field and its value, which every entry that has both refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataObject {
    /// Where the payload begins, from the beginning of the data.
    pub payload: usize,
    /// Bytes of the payload.
    pub length: u64,
    /// How the payload is compressed.
    pub packed: Compression,
    /// Whether more than one entry refers to it.
    pub shared: bool,
}

/// Reads what is before the payload of data.
pub fn data(bytes: &[u8], compact: bool) -> Result<DataObject, FormatError> {
    let payload = if compact { 72 } else { 64 };
    let size = object(bytes, OBJECT_DATA, payload).ok_or(FormatError::Object("data"))?;
    let packed = match bytes.get(1).copied().unwrap_or_default() & 0b1111 {
        0 => Compression::No,
        0b010 => Compression::Lz4,
        0b100 => Compression::Zstd,
        _ => Compression::Other,
    };
    let shared = number(bytes, 56).is_some_and(|entries| entries > 1);
    Ok(DataObject { payload, length: size - payload as u64, packed, shared })
}

/// The size of an object of a kind; `None` where it is another one, or too small.
fn object(bytes: &[u8], kind: u8, least: usize) -> Option<u64> {
    let size = number(bytes, 8)?;
    (bytes.first() == Some(&kind) && size >= least as u64).then_some(size)
}

fn short(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
