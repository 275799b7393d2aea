//! What an internet socket is told and tells beyond its bytes: errors that ICMP reported, and the kernel's time stamps.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `struct sock_extended_err` (`include/uapi/linux/errqueue.h`), as far as it is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedError {
    /// `ee_errno`: what the error comes down to.
    pub errno: i32,
    /// `ee_origin`: 1 local, 2 ICMP, 3 that of IPv6, 4 a time stamp.
    pub origin: u8,
    /// Type of the ICMP message.
    pub kind: u8,
    /// Code of the ICMP message.
    pub code: u8,
    /// Of a time stamp: the number of the packet, from 0, of those that were sent since stamps were asked for.
    pub data: u32,
}

/// `SO_EE_ORIGIN_TIMESTAMPING`: not an error but the time stamp of a packet that was sent.
pub const ORIGIN_TIMESTAMPING: u8 = 4;

/// What was received, and what came with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes.
    pub length: usize,
    /// When the kernel saw the packet, since 1970.
    pub stamp: Option<Duration>,
    /// From the error queue: why it is there.
    pub error: Option<ExtendedError>,
}

/// Asks for the errors that ICMP reports: `IP_RECVERR` or `IPV6_RECVERR`. Without it a datagram socket gets an error for a closed
/// port only, and none for a host or a network that cannot be reached.
pub fn receive_errors(socket: BorrowedFd, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    }
}

/// Asks for the time at which the kernel hands a packet to the device and takes one from it: `SO_TIMESTAMPING` with
/// software stamps. Those of packets that were sent come over the error queue, without the packet and with its number.
pub fn stamp(socket: BorrowedFd) -> io::Result<()> {
    let flags = libc::SOF_TIMESTAMPING_TX_SOFTWARE
        | libc::SOF_TIMESTAMPING_RX_SOFTWARE
        | libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_OPT_TSONLY
        | libc::SOF_TIMESTAMPING_OPT_ID;
    set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, i32::try_from(flags).unwrap_or(0))
}

/// Has a raw socket receive echo replies only: `ICMP_FILTER` (`include/uapi/linux/icmp.h`) and `ICMPV6_FILTER`
/// (`include/uapi/linux/icmpv6.h`). A type of message whose bit is set is skipped.
pub fn echo_replies_only(socket: BorrowedFd, ipv6: bool) -> io::Result<()> {
    const FILTER: i32 = 1;
    if ipv6 {
        // The reply is type 129: bit 1 of the fifth word.
        set_words(socket, libc::IPPROTO_ICMPV6, FILTER, &[-1, -1, -1, -1, !2, -1, -1, -1])
    } else {
        // The reply is type 0.
        set(socket, libc::SOL_RAW, FILTER, !1)
    }
}

fn set(socket: BorrowedFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    set_words(socket, level, option, &[value])
}

#[expect(unsafe_code, reason = "socket options that no safe wrapper offers")]
fn set_words(socket: BorrowedFd, level: i32, option: i32, value: &[i32]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(value)).unwrap_or_default();
    // SAFETY: the descriptor is open for the length of the call, and the kernel reads `length` bytes of `value`, which is as
    // long and lives longer than the call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the runtime watch a socket for data and for errors: the runtime's own UDP socket is not woken by an error that
/// comes without data.
#[expect(unsafe_code, reason = "tokio has no safe way to watch for errors")]
pub fn watch(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor is open, and is the same one, until it is dropped; the watch owns it, and only ever
    // lends it out.
    let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::ERROR) };
    Ok(watched?)
}

/// Receives what there is, without waiting: a packet, or with `errors` an entry of the error queue.
#[expect(unsafe_code, reason = "control messages that no safe wrapper offers")]
pub fn receive(socket: BorrowedFd, buffer: &mut [u8], errors: bool) -> io::Result<Received> {
    let mut control = [0u64; 64];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is made of integers and pointers, for which zeros are a value; some C libraries pad it, so it
    // cannot be written out.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let queue = if errors { libc::MSG_ERRQUEUE } else { 0 };
    // SAFETY: the descriptor is open for the length of the call; `message` points to `part`, which points to `buffer`
    // with its length, and to `control` with its length, and all of them live longer than the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, queue | libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let used = message.msg_controllen as usize;
    let bytes: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).take(used).collect();
    let (stamp, error) = control_messages(&bytes);
    Ok(Received { length, stamp, error })
}

/// The control messages of `recvmsg(2)`: each a `struct cmsghdr` (length with the header, level, type), its data, and
/// padding to the size of a word.
fn control_messages(mut bytes: &[u8]) -> (Option<Duration>, Option<ExtendedError>) {
    const WORD: usize = size_of::<usize>();
    const HEADER: usize = WORD + 8;
    let (mut stamp, mut error) = (None, None);
    while let Some((header, rest)) = bytes.split_at_checked(HEADER) {
        let number = |from: usize| {
            header
                .get(from..)
                .and_then(|bytes| bytes.first_chunk())
                .map_or(0, |bytes| i32::from_ne_bytes(*bytes))
        };
        let Some(length) = header.first_chunk().map(|bytes| usize::from_ne_bytes(*bytes)) else { break };
        let Some(data) = length.checked_sub(HEADER).and_then(|length| rest.get(..length)) else { break };
        match (number(WORD), number(WORD + 4)) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => stamp = time(data).or(stamp),
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                error = extended(data).or(error);
            }
            _ => {}
        }
        bytes = rest.get(data.len().next_multiple_of(WORD)..).unwrap_or(&[]);
    }
    (stamp, error)
}

/// The first of the three `struct timespec` of `struct scm_timestamping`: that of the software.
fn time(data: &[u8]) -> Option<Duration> {
    let number = |from: usize| {
        let bytes = data.get(from * size_of::<libc::c_long>()..)?.first_chunk()?;
        u64::try_from(libc::c_long::from_ne_bytes(*bytes)).ok()
    };
    let time = Duration::from_secs(number(0)?) + Duration::from_nanos(number(1)?);
    (!time.is_zero()).then_some(time)
}

fn extended(data: &[u8]) -> Option<ExtendedError> {
    let errno = i32::from_ne_bytes(*data.first_chunk()?);
    let [origin, kind, code] = *data.get(4..7)?.first_chunk()?;
    let data = u32::from_ne_bytes(*data.get(12..)?.first_chunk()?);
    Some(ExtendedError { errno, origin, kind, code, data })
}

#[cfg(test)]
mod tests {
    use super::{ExtendedError, control_messages};
    use std::time::Duration;

    /// What Linux 6.18 on x86-64 gave for an echo request that a closed network refused, and for the time stamp of one
    /// that was sent.
    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (size_of::<usize>() + 8 + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
        bytes
    }

    #[test]
    fn control_messages_are_read_and_any_part_of_them_too() {
        let mut stamp = 1_700_000_000_i64.to_ne_bytes().to_vec();
        stamp.extend(42_i64.to_ne_bytes());
        stamp.resize(48, 0);
        let mut error = 113_i32.to_ne_bytes().to_vec();
        error.extend([2, 3, 1, 0, 0, 0, 0, 0]);
        error.extend(7_u32.to_ne_bytes());
        let mut bytes = message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPING, &stamp);
        bytes.extend(message(libc::IPPROTO_IP, libc::IP_RECVERR, &error));
        let expected = ExtendedError { errno: 113, origin: 2, kind: 3, code: 1, data: 7 };
        let stamp = Duration::new(1_700_000_000, 42);
        assert_eq!(control_messages(&bytes), (Some(stamp), Some(expected)));
        for length in 0..bytes.len() {
            let _no_panic = control_messages(&bytes[..length]);
        }
    }
}
