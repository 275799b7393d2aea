//! An entry of the kernel's map of destinations, as it is kept from cycle to cycle.

use super::WorkloadDestination;
use crate::source::containers::kernel::records::{TOTALS, Totals};
use crate::source::containers::packed::Packed;
use std::sync::Arc;

/// A number that says whether the numbers of a record have changed. Another record with the same one is told at its next change.
pub(super) fn fingerprint(value: &[u8; TOTALS]) -> u64 {
    let (words, _) = value.as_chunks();
    words.iter().fold(0_u64, |sum, word| {
        (sum.rotate_left(5) ^ u64::from_ne_bytes(*word)).wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}

/// An entry of the kernel's map of destinations, as it was last read.
#[derive(Debug)]
pub(super) struct KernelEntry {
    /// Its numbers when they were read last.
    pub(super) last: Packed,
    /// Of the record that they were read from.
    pub(super) fingerprint: u64,
    /// The removals of series when its own was last seen to be there.
    pub(super) removals: u32,
    pub(super) open: i64,
    /// When something happened last.
    pub(super) touched: u64,
    /// That of the destination, which would take another look into memory.
    pub(super) workload: u64,
    pub(super) destination: Arc<WorkloadDestination>,
}

impl KernelEntry {
    /// Its numbers when they were read last.
    pub(super) fn last(&self) -> Totals {
        Totals::of_numbers(&self.last.unpack())
    }
}
