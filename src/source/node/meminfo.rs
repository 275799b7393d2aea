//! `/proc/meminfo` (pure): a name, a number and `kB` a line.
//!
//! `fs/proc/meminfo.c`, `show_val_kb`: a `kB` is 1024 bytes, since it is a number of pages shifted by `PAGE_SHIFT - 10`.

use super::text::{Malformed, lines, number};

/// Bytes of what the file calls `kB`.
const KIB: u64 = 1024;

/// The memory of the machine, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// `MemTotal`: physical memory without what the kernel's code and firmware keep.
    pub total: u64,
    /// `MemFree`: used by nobody.
    pub free: u64,
    /// `MemAvailable`: what new programs can have without swapping; `None` before Linux 3.14.
    pub available: Option<u64>,
    /// `Buffers`: page cache of block devices.
    pub buffers: u64,
    /// `Cached`: page cache of files, tmpfs included.
    pub cached: u64,
}

impl Memory {
    /// What is neither free nor page cache: the four add up to the total.
    pub fn used(&self) -> u64 {
        [self.free, self.buffers, self.cached]
            .iter()
            .fold(self.total, |rest, part| rest.saturating_sub(*part))
    }
}

/// Reads the text of the file. Lines with other names are not looked at.
pub fn parse(text: &str) -> Result<Memory, Malformed> {
    let (mut memory, mut total, mut free) = (Memory::default(), None, None);
    for (line, words) in lines(text)? {
        let mut words = words.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let mut bytes = || {
            let word = words.next().ok_or(Malformed::Short { line, words: 1 })?;
            let bytes = number(word, line)?.checked_mul(KIB);
            bytes.ok_or_else(|| Malformed::Number { line, word: word.to_owned() })
        };
        match name {
            "MemTotal:" => total = Some(bytes()?),
            "MemFree:" => free = Some(bytes()?),
            "MemAvailable:" => memory.available = Some(bytes()?),
            "Buffers:" => memory.buffers = bytes()?,
            "Cached:" => memory.cached = bytes()?,
            _ => {}
        }
    }
    memory.total = total.ok_or(Malformed::Missing("MemTotal"))?;
    memory.free = free.ok_or(Malformed::Missing("MemFree"))?;
    Ok(memory)
}
