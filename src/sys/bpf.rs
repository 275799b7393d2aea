//! BPF maps: reading many entries with one call, and what the kernel says of maps and programs.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `BPF_MAP_LOOKUP_BATCH` of `enum bpf_cmd` in `include/uapi/linux/bpf.h`, Linux 5.6.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
/// The commands for one entry.
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_GET_NEXT_KEY: libc::c_long = 4;
/// Linux 5.14 for hash maps.
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;

/// `ENOTSUPP` of `include/linux/errno.h`: the type of the map has no batches. A kernel without the command says `EINVAL`.
const ENOTSUPP: i32 = 524;

/// Entries asked for at once. The kernel gives whole buckets of its hash table, which hold one entry each as a rule.
const BATCH: usize = 4096;
/// Bytes of per-CPU values requested at once, and the minimum number of entries, however many CPUs there are.
const BATCH_BYTES: usize = 1 << 20;
const MIN_BATCH: usize = 64;

/// The member `batch` of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct Batch {
    input: u64,
    output: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The members of `union bpf_attr` for one entry.
#[repr(C)]
struct Element {
    map_fd: u32,
    reserved: u32,
    key: u64,
    /// The value, or the next key.
    found: u64,
    flags: u64,
}

/// Hands every entry of a hash map to `take`, whose keys are `K` and whose values are `V` bytes long; how many there were.
/// Entries that come or go meanwhile may be among them or not, and one that is there all the time is given once. Where the
/// kernel has no `BPF_MAP_LOOKUP_BATCH`, they are read individually.
pub fn entries<const K: usize, const V: usize>(
    map: BorrowedFd<'_>,
    mut take: impl FnMut(&[u8; K], &[u8; V]),
) -> io::Result<usize> {
    all(map, V, BATCH, |key, value| {
        if let Some(value) = value.first_chunk() {
            take(key, value);
        }
    })
}

/// A hash map's numbers of 64 bits, one for each CPU that is possible: room for those of an entry.
#[derive(Debug)]
pub struct CpuNumbers(Vec<u64>);

impl CpuNumbers {
    /// Asks the kernel for the number of CPUs, which does not change.
    ///
    /// # Errors
    ///
    /// The kernel does not say which CPUs are possible.
    pub fn new() -> io::Result<Self> {
        match super::possible_cpus().len() {
            0 => Err(io::Error::other("/sys/devices/system/cpu/possible cannot be read")),
            cpus => Ok(Self(vec![0; cpus])),
        }
    }

    /// Hands every entry of such a map to `take`, as [`entries`] does, with the sum of its numbers; how many there were.
    ///
    /// # Errors
    ///
    /// The kernel refuses to read the map.
    pub fn sums<const K: usize>(
        &self,
        map: BorrowedFd<'_>,
        mut take: impl FnMut(&[u8; K], u64),
    ) -> io::Result<usize> {
        // The kernel writes a value for each of the CPUs.
        let size = size_of_val(self.0.as_slice());
        all(map, size, (BATCH_BYTES / size).clamp(MIN_BATCH, BATCH), |key, value| {
            let (numbers, _) = value.as_chunks();
            take(key, numbers.iter().map(|number| u64::from_ne_bytes(*number)).fold(0, u64::wrapping_add));
        })
    }

    /// Takes an entry out of such a map; the sum of its numbers. What is counted meanwhile is in it, or in a new entry.
    ///
    /// # Errors
    ///
    /// There is no such entry, or the kernel refuses.
    pub fn take_sum<const K: usize>(&mut self, map: BorrowedFd<'_>, key: &[u8; K]) -> io::Result<u64> {
        let mut key = *key;
        let mut element = Element {
            map_fd: u32::try_from(map.as_raw_fd()).map_err(io::Error::other)?,
            reserved: 0,
            key: address(&raw mut key),
            found: address(self.0.as_mut_ptr()),
            flags: 0,
        };
        call(BPF_MAP_LOOKUP_AND_DELETE_ELEM, &mut element)?;
        Ok(self.0.iter().copied().fold(0, u64::wrapping_add))
    }
}

/// The values are `size` bytes long, of which `batch` are asked for at once.
fn all<const K: usize>(
    map: BorrowedFd<'_>,
    size: usize,
    batch: usize,
    mut take: impl FnMut(&[u8; K], &[u8]),
) -> io::Result<usize> {
    let (mut keys, mut values) = (vec![[0_u8; K]; batch], vec![0_u8; batch * size]);
    let (mut position, mut next) = (0_u32, 0_u32);
    let mut begun = false;
    let mut total = 0;
    loop {
        let room = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let mut batch = Batch {
            input: if begun { address(&raw mut position) } else { 0 },
            output: address(&raw mut next),
            keys: address(keys.as_mut_ptr()),
            values: address(values.as_mut_ptr()),
            count: room,
            map_fd: u32::try_from(map.as_raw_fd()).map_err(io::Error::other)?,
            ..Batch::default()
        };
        let ended = match call(BPF_MAP_LOOKUP_BATCH, &mut batch) {
            Ok(()) => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => true,
                // One bucket is longer than all of this.
                Some(libc::ENOSPC) if keys.len() < 16 * BATCH => {
                    keys.resize(keys.len() * 2, [0; K]);
                    values.resize(keys.len() * size, 0);
                    continue;
                }
                Some(libc::EINVAL | ENOTSUPP) if !begun => return one_by_one(map, size, take),
                _ => return Err(error),
            },
        };
        let count = usize::try_from(batch.count).unwrap_or_default();
        for (key, value) in keys.iter().zip(values.chunks_exact(size)).take(count) {
            take(key, value);
        }
        total += count;
        if ended {
            return Ok(total);
        }
        (position, begun) = (next, true);
    }
}

fn address<T>(of: *mut T) -> u64 {
    of.expose_provenance() as u64
}

/// The same with two calls for each entry.
fn one_by_one<const K: usize>(
    map: BorrowedFd<'_>,
    size: usize,
    mut take: impl FnMut(&[u8; K], &[u8]),
) -> io::Result<usize> {
    let map_fd = u32::try_from(map.as_raw_fd()).map_err(io::Error::other)?;
    let (mut key, mut next, mut value) = ([0_u8; K], [0_u8; K], vec![0_u8; size]);
    let mut seen = HashSet::new();
    let (mut total, mut repeated) = (0, 0);
    loop {
        let last = if seen.is_empty() { 0 } else { address(&raw mut key) };
        let mut element = Element { map_fd, reserved: 0, key: last, found: address(&raw mut next), flags: 0 };
        match call(BPF_MAP_GET_NEXT_KEY, &mut element) {
            Ok(()) => key = next,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(total),
            Err(error) => return Err(error),
        }
        if !seen.insert(key) {
            // The key before this one was taken out of the map, so the kernel began at the first again.
            repeated += 1;
            if repeated > 16 * (seen.len() + 64) {
                return Err(io::Error::other("entries were removed faster than they could be read"));
            }
            continue;
        }
        (element.key, element.found) = (address(&raw mut key), address(value.as_mut_ptr()));
        match call(BPF_MAP_LOOKUP_ELEM, &mut element) {
            Ok(()) => {
                take(&key, &value);
                total += 1;
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

#[expect(unsafe_code, reason = "a system call that no safe wrapper offers")]
fn call<T>(command: libc::c_long, attribute: &mut T) -> io::Result<()> {
    // SAFETY: the attribute is as long as is said. The kernel reads and writes keys and values of the sizes the map was made
    // with: at most `count` of them in the buffers of `all`, which hold as many of these sizes, one in those of
    // `one_by_one` and `take_sum`; a position of four bytes each way, and the count in the attribute itself. All of them live longer than the
    // call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attribute), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A number in the `fdinfo` of a map (`memlock`, its bytes) or of a program (`recursion_misses`, the runs left out because
/// it was running on that CPU already; Linux 5.12).
pub fn number(of: BorrowedFd<'_>, name: &str) -> Option<u64> {
    let text = super::read_limited(format!("/proc/self/fdinfo/{}", of.as_raw_fd()), 4096).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}
