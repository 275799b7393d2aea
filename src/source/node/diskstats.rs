//! `/proc/diskstats` (pure): a disk or partition a line, and the way from its 32-bit milliseconds to 64 bits.
//!
//! `block/genhd.c`, `diskstats_show`; `Documentation/admin-guide/iostats.rst`. Sectors are 512 bytes whatever the disk has.
//! Operations and sectors have the width of `unsigned long`, the milliseconds are printed as `unsigned int`: with 32 requests
//! in flight they begin again at 0 after a day and a half.

use super::text::{Malformed, lines, number};
use crate::host::counter::step;
use crate::text::bounded;

/// Bytes of a sector.
const SECTOR: u64 = 512;

/// Bytes of a name that are kept; the kernel's have fewer (`DISK_NAME_LEN`).
const LONGEST: usize = 64;

/// What one direction of a disk has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Direction {
    /// Operations that are complete.
    pub operations: u64,
    /// Bytes.
    pub bytes: u64,
    /// Milliseconds that operations took, summed over operations.
    pub milliseconds: u64,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Major and minor number of the device.
    pub device: (u64, u64),
    /// Name of the disk or partition.
    pub name: String,
    /// Completed reads.
    pub read: Direction,
    /// Completed writes.
    pub write: Direction,
    /// Milliseconds in which at least one operation was in progress.
    pub busy: u64,
}

/// Reads the text of the file. Columns behind those that are known are not looked at: kernels add them.
pub fn parse(text: &str) -> Result<Vec<Disk>, Malformed> {
    lines(text)?.map(|(line, words)| disk(line, words)).collect()
}

fn disk(line: usize, words: &str) -> Result<Disk, Malformed> {
    let count = words.split_ascii_whitespace().count();
    let mut words = words.split_ascii_whitespace();
    let mut word = || words.next().ok_or(Malformed::Short { line, words: count });
    let device = (number(word()?, line)?, number(word()?, line)?);
    let name = bounded(word()?, LONGEST);
    let mut next = || number(word()?, line);
    let mut direction = || {
        let (operations, _merged, sectors, milliseconds) = (next()?, next()?, next()?, next()?);
        Ok(Direction { operations, bytes: sectors.saturating_mul(SECTOR), milliseconds })
    };
    let (read, write) = (direction()?, direction()?);
    let (_in_progress, busy) = (next()?, next()?);
    Ok(Disk { device, name, read, write, busy })
}

/// The counters of a disk, with milliseconds that do not wrap.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskTotals {
    last: Milliseconds,
    totals: Milliseconds,
    operations: [u64; 2],
}

/// Read, write, busy.
type Milliseconds = [u64; 3];

impl DiskTotals {
    /// Replaces the milliseconds of a disk by totals of 64 bits. Operations that went back are those of another disk that got
    /// the name and the numbers of the one before: it begins with what the kernel says.
    pub fn unwrap(&mut self, disk: &mut Disk) {
        let operations = [disk.read.operations, disk.write.operations];
        let another = operations.iter().zip(self.operations).any(|(now, last)| *now < last);
        if another {
            *self = Self::default();
        }
        self.operations = operations;
        let values = [&mut disk.read.milliseconds, &mut disk.write.milliseconds, &mut disk.busy];
        for ((value, last), total) in values.into_iter().zip(&mut self.last).zip(&mut self.totals) {
            *total = total.saturating_add(step(*last, *value));
            *last = *value;
            *value = *total;
        }
    }
}
