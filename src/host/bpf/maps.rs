//! The maps of BPF programs, with keys and values of so many bytes. Those with a number for each CPU are there so that CPUs do not wait
//! for each other.

use super::CAPABILITIES;
use crate::reading::SourceError;
use crate::sys::bpf::{self, CpuNumbers};
use aya::maps::{Array, HashMap, IterableMap, MapData, PerCpuArray, PerCpuHashMap, RingBuf};
use std::os::fd::{AsFd, BorrowedFd};

/// A BPF hash map.
pub struct Map<const K: usize, const V: usize> {
    map: HashMap<MapData, [u8; K], [u8; V]>,
    name: &'static str,
}

/// `BPF_EXIST` of `include/uapi/linux/bpf.h`.
const BPF_EXIST: u64 = 2;

impl<const K: usize, const V: usize> Map<K, V> {
    pub(super) fn new(map: HashMap<MapData, [u8; K], [u8; V]>, name: &'static str) -> Self {
        Self { map, name }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.map.map().fd().as_fd()
    }

    /// Calls `take` with every entry, with few system calls (`BPF_MAP_LOOKUP_BATCH`) if the kernel supports it.
    ///
    /// # Errors
    ///
    /// The kernel refuses to read the map.
    pub fn entries(&self, take: impl FnMut(&[u8; K], &[u8; V])) -> Result<(), SourceError> {
        let doing = || format!("reading the BPF map {}", self.name);
        bpf::entries(self.fd(), take)
            .map(drop)
            .map_err(|cause| SourceError::from_io(doing(), CAPABILITIES, cause))
    }

    /// The keys of all entries.
    pub fn keys(&self) -> impl Iterator<Item = [u8; K]> {
        self.map.keys().filter_map(Result::ok)
    }

    /// The value of a key; `None` if there is none.
    pub fn get(&self, key: &[u8; K]) -> Option<[u8; V]> {
        self.map.get(key, 0).ok()
    }

    /// Inserts or replaces an entry. Returns whether the map had space.
    pub fn insert(&mut self, key: [u8; K], value: [u8; V]) -> bool {
        self.map.insert(key, value, 0).is_ok()
    }

    /// Replaces the value of an existing entry.
    pub fn change(&mut self, key: [u8; K], value: [u8; V]) {
        // The entry may have been removed.
        drop(self.map.insert(key, value, BPF_EXIST));
    }

    /// Removes an entry. Returns whether it existed.
    pub fn remove(&mut self, key: &[u8; K]) -> bool {
        self.map.remove(key).is_ok()
    }
}

/// A BPF array of numbers.
pub struct Numbers(Array<MapData, u64>);

impl Numbers {
    pub(super) fn new(map: Array<MapData, u64>) -> Self {
        Self(map)
    }

    /// The number at an index; 0 if the index is out of range.
    pub fn get(&self, place: u32) -> u64 {
        self.0.get(&place, 0).unwrap_or_default()
    }

    /// Sets the number at an existing index.
    pub fn set(&mut self, place: u32, number: u64) {
        drop(self.0.set(place, number, 0));
    }
}

/// A BPF ring buffer.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    pub(super) fn new(map: RingBuf<MapData>) -> Self {
        Self(map)
    }

    /// Removes events until `parse` accepts one, and returns it; `None` if there is none.
    pub fn take<T>(&mut self, parse: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        while let Some(item) = self.0.next() {
            if let Some(event) = parse(&item) {
                return Some(event);
            }
        }
        None
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A BPF hash map with a number for each CPU.
pub struct PerCpuMap<const K: usize> {
    map: PerCpuHashMap<MapData, [u8; K], u64>,
    name: &'static str,
    numbers: CpuNumbers,
}

impl<const K: usize> PerCpuMap<K> {
    pub(super) fn new(
        map: PerCpuHashMap<MapData, [u8; K], u64>,
        name: &'static str,
    ) -> Result<Self, SourceError> {
        let doing = |cause| SourceError::io(format!("reading the BPF map {name}"), cause);
        let numbers = CpuNumbers::new().map_err(doing)?;
        Ok(Self { map, name, numbers })
    }

    /// Calls `take` with every key and the sum of its numbers.
    ///
    /// # Errors
    ///
    /// The kernel refuses to read the map.
    pub fn sums(&self, take: impl FnMut(&[u8; K], u64)) -> Result<(), SourceError> {
        let doing = || format!("reading the BPF map {}", self.name);
        self.numbers
            .sums(self.map.map().fd().as_fd(), take)
            .map(drop)
            .map_err(|cause| SourceError::from_io(doing(), CAPABILITIES, cause))
    }

    /// Removes an entry, and returns the sum of its numbers; `None` if there is none. Linux 5.14.
    pub fn remove(&mut self, key: &[u8; K]) -> Option<u64> {
        self.numbers.take_sum(self.map.map().fd().as_fd(), key).ok()
    }
}

/// A BPF array with a number for each CPU.
pub struct PerCpuNumbers(PerCpuArray<MapData, u64>);

impl PerCpuNumbers {
    pub(super) fn new(map: PerCpuArray<MapData, u64>) -> Self {
        Self(map)
    }

    /// The sum of the numbers at an index; 0 if the index is out of range.
    pub fn get(&self, place: u32) -> u64 {
        self.0.get(&place, 0).map_or(0, |numbers| numbers.iter().copied().fold(0, u64::wrapping_add))
    }
}
