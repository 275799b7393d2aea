//! BPF maps: reading many entries with one call, and what the kernel says of maps and programs.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `BPF_MAP_LOOKUP_BATCH` of `enum bpf_cmd` in `include/uapi/linux/bpf.h`, Linux 5.6.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// Entries asked for at once. The kernel gives whole buckets of its hash table, which hold one entry each as a rule.
const BATCH: usize = 4096;

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

/// Hands every entry of a hash map to `take`, whose keys are `K` and whose values are `V` bytes long; how many there were.
/// Entries that come or go meanwhile may be among them or not, and one that is there all the time is given once.
pub fn entries<const K: usize, const V: usize>(
    map: BorrowedFd<'_>,
    mut take: impl FnMut(&[u8; K], &[u8; V]),
) -> io::Result<usize> {
    let (mut keys, mut values) = (vec![[0_u8; K]; BATCH], vec![[0_u8; V]; BATCH]);
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
        let ended = match lookup(&mut batch) {
            Ok(()) => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => true,
                // One bucket is longer than all of this.
                Some(libc::ENOSPC) if keys.len() < 16 * BATCH => {
                    keys.resize(keys.len() * 2, [0; K]);
                    values.resize(values.len() * 2, [0; V]);
                    continue;
                }
                _ => return Err(error),
            },
        };
        let count = usize::try_from(batch.count).unwrap_or_default();
        for (key, value) in keys.iter().zip(&values).take(count) {
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

#[expect(unsafe_code, reason = "a system call that no safe wrapper offers")]
fn lookup(batch: &mut Batch) -> io::Result<()> {
    // SAFETY: the attribute is as long as is said; the kernel writes at most `count` keys and values of the sizes the map
    // was made with into the buffers of `entries`, which hold as many of these sizes, a position of four bytes each way,
    // and the count into the attribute itself. All of them live longer than the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_BATCH, std::ptr::from_mut(batch), size_of::<Batch>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A number in the `fdinfo` of a map (`memlock`, its bytes) or of a program (`recursion_misses`, the runs left out because
/// one interrupted another on its CPU; Linux 5.12).
pub fn number(of: BorrowedFd<'_>, name: &str) -> Option<u64> {
    let text = super::read_limited(format!("/proc/self/fdinfo/{}", of.as_raw_fd()), 4096).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}
