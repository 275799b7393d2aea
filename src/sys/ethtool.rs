//! The statistics that the driver of a network interface keeps, by ethtool's ioctl.
//!
//! `include/uapi/linux/ethtool.h`, `net/ethtool/ioctl.c`. None of these commands needs a privilege. `ETHTOOL_GSTATS` writes
//! as many numbers as the driver has, however many the caller asked for, and a driver has more as soon as somebody adds a
//! queue. So the buffer ends at pages that nobody may write to: the kernel then refuses with `EFAULT`.

use crate::text::before_zero;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

/// `ETH_GSTRING_LEN`: bytes of the name of a statistic, which zeros fill.
const NAME: usize = 32;

/// Statistics of one interface that can be read. A card with 256 queues has some 30,000.
pub const MAX_STATISTICS: usize = 65_536;

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETH_SS_STATS: u32 = 1;

/// `struct ethtool_drvinfo`: where the name of the driver is, and the number of its statistics.
const DRIVER: std::ops::Range<usize> = 4..36;
const N_STATS: usize = 180;

/// Bytes in front of the names (`struct ethtool_gstrings`) and of the numbers (`struct ethtool_stats`).
const NAMES_FROM: usize = 12;
const NUMBERS_FROM: usize = 8;

/// A multiple of every size of page that Linux has.
const PAGES: usize = 64 * 1024;
/// Bytes that may be written to: enough for the names of [`MAX_STATISTICS`] statistics.
const LENGTH: usize = MAX_STATISTICS * NAME + PAGES;

/// What an interface is driven by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// Name of the driver, as bytes that should be ASCII.
    pub name: Vec<u8>,
    /// Number of statistics that it keeps.
    pub statistics: usize,
}

/// A socket that ethtool's commands go through, in the network namespace that it was opened in.
#[derive(Debug)]
pub struct Ethtool {
    socket: OwnedFd,
    buffer: Guarded,
}

impl Ethtool {
    /// Opens a socket in the network namespace of the calling thread; any kind of socket does.
    pub fn open() -> io::Result<Self> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, buffer: Guarded::new()? })
    }

    /// The driver of an interface; `EOPNOTSUPP` where it has none.
    pub fn driver(&mut self, interface: &[u8]) -> io::Result<Driver> {
        self.ask(interface, &[ETHTOOL_GDRVINFO])?;
        let bytes = self.buffer.bytes();
        let name = before_zero(bytes.get(DRIVER).unwrap_or_default()).to_vec();
        Ok(Driver { name, statistics: number(bytes, N_STATS) as usize })
    }

    /// The names of the statistics, each filled with zeros.
    pub fn names(&mut self, interface: &[u8], statistics: usize) -> io::Result<Vec<[u8; NAME]>> {
        self.ask(interface, &[ETHTOOL_GSTRINGS, ETH_SS_STATS, bounded(statistics)?])?;
        let bytes = self.buffer.bytes();
        let answered = number(bytes, 8) as usize;
        let names = bytes.get(NAMES_FROM..NAMES_FROM.saturating_add(answered.saturating_mul(NAME)));
        names.map(|names| names.as_chunks().0.to_vec()).ok_or_else(changed)
    }

    /// The statistics, in the order of their names. `Interrupted` if there are more or fewer of them than expected: a queue
    /// was added or removed in between, and the names have to be asked for again.
    pub fn numbers(&mut self, interface: &[u8], statistics: usize) -> io::Result<Vec<u64>> {
        self.ask(interface, &[ETHTOOL_GSTATS, bounded(statistics)?])?;
        let bytes = self.buffer.bytes();
        if number(bytes, 4) as usize != statistics {
            return Err(changed());
        }
        let bytes = bytes.get(NUMBERS_FROM..NUMBERS_FROM + statistics * 8).ok_or_else(changed)?;
        Ok(bytes.as_chunks().0.iter().map(|number| u64::from_ne_bytes(*number)).collect())
    }

    /// Sends a command, whose first numbers are given.
    #[expect(unsafe_code, reason = "an ioctl that no safe wrapper offers")]
    fn ask(&mut self, interface: &[u8], command: &[u32]) -> io::Result<()> {
        for (slot, number) in self.buffer.bytes().as_chunks_mut().0.iter_mut().zip(command) {
            *slot = number.to_ne_bytes();
        }
        // SAFETY: ifreq is made of integers and a pointer, for which zeros are a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        let name = interface.iter().take(libc::IFNAMSIZ - 1);
        for (slot, byte) in request.ifr_name.iter_mut().zip(name) {
            *slot = libc::c_char::from_ne_bytes([*byte]);
        }
        request.ifr_ifru.ifru_data = self.buffer.start.as_ptr().cast();
        // SAFETY: the descriptor is open for the length of the call. The kernel reads and writes `request`, and the memory
        // that it points to: a mapping that lives longer than the call, and behind whose end nothing can be written.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// A number of 32 bits in an answer.
fn number(bytes: &[u8], from: usize) -> u32 {
    bytes.get(from..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// A number of statistics that there is room for.
fn bounded(statistics: usize) -> io::Result<u32> {
    match u32::try_from(statistics) {
        Ok(count) if statistics <= MAX_STATISTICS => Ok(count),
        _ => Err(io::Error::other(format!(
            "it has {statistics} statistics, of which {MAX_STATISTICS} can be read"
        ))),
    }
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "the number of its statistics changed while they were read")
}

/// Memory whose end nobody can write over. A page takes memory only once it is written to.
#[derive(Debug)]
struct Guarded {
    start: NonNull<u8>,
}

impl Guarded {
    #[expect(unsafe_code, reason = "a mapping with pages that nobody may write to")]
    fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), LENGTH + PAGES, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let guarded =
            NonNull::new(start.cast()).map(|start| Self { start }).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the first `LENGTH` bytes of the mapping, which nobody else knows of.
        let result = unsafe { libc::mprotect(start, LENGTH, libc::PROT_READ | libc::PROT_WRITE) };
        if result == 0 { Ok(guarded) } else { Err(io::Error::last_os_error()) }
    }

    #[expect(unsafe_code, reason = "the bytes of a mapping")]
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `LENGTH` bytes from `start` are mapped, readable, writable and zero at first; the mapping is this value's
        // alone and lasts as long, and the borrow keeps others from writing.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), LENGTH) }
    }
}

impl Drop for Guarded {
    #[expect(unsafe_code, reason = "a mapping is removed")]
    fn drop(&mut self) {
        // SAFETY: the mapping as it was made; no borrow of it outlives this value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), LENGTH + PAGES) };
    }
}

#[cfg(test)]
mod tests {
    use super::{Ethtool, LENGTH, MAX_STATISTICS, NAME, bounded};
    use std::io::Write;
    use std::os::fd::AsRawFd;

    #[test]
    fn an_answer_longer_than_the_buffer_is_refused_by_the_kernel() {
        let mut ethtool = Ethtool::open().unwrap();
        // Reading from a pipe into the guarded pages is what a driver with too many statistics does.
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&[1; 64]).unwrap();
        let bytes = ethtool.buffer.bytes();
        let end = bytes.as_mut_ptr().wrapping_add(LENGTH - 32);
        assert_eq!(bytes.len(), LENGTH);
        #[expect(unsafe_code, reason = "a read beyond the end is the point")]
        // SAFETY: what is behind the 32 bytes cannot be written to, so nothing is.
        let read = unsafe { libc::read(reader.as_raw_fd(), end.cast(), 64) };
        assert!(read <= 32, "{read} bytes were written, 32 of them over the end");
    }

    #[test]
    fn more_statistics_than_there_is_room_for_are_not_asked_for() {
        assert!(bounded(MAX_STATISTICS).is_ok());
        assert!(bounded(MAX_STATISTICS + 1).unwrap_err().to_string().contains("65537 statistics"));
        const { assert!(MAX_STATISTICS * NAME + 12 <= LENGTH) };
    }
}
