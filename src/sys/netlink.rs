//! A netlink socket: bytes out, datagrams in.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{self, Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, bind, recvfrom,
    sendto, socket_with,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The kernel fills dump datagrams up to 32 KiB where the reader has room for it (`netlink_dump` in
/// `net/netlink/af_netlink.c`), and a single message is smaller.
const DATAGRAM: usize = 32 * 1024;

/// A socket bound to one netlink protocol in the network namespace it was opened in.
#[derive(Debug)]
pub struct NetlinkSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl NetlinkSocket {
    /// Opens and binds a socket; without a protocol one of `NETLINK_ROUTE`, whose number is 0. `timeout` bounds each receive.
    pub fn open(protocol: impl Into<Option<Protocol>>, timeout: Duration) -> io::Result<Self> {
        let protocol = protocol.into();
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(timeout))?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM] })
    }

    /// Sends one request to the kernel.
    pub fn send(&self, request: &[u8]) -> io::Result<()> {
        let sent = sendto(&self.socket, request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        if sent == request.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Receives one datagram of the kernel; datagrams of other processes are skipped.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        self.receive_with(RecvFlags::empty())
    }

    /// Receives one datagram of the kernel if there is one; `WouldBlock` if there is none. `ENOBUFS` says once that there
    /// was no room for some.
    pub fn receive_now(&mut self) -> io::Result<&[u8]> {
        self.receive_with(RecvFlags::DONTWAIT)
    }

    /// Joins a multicast group (`NETLINK_ADD_MEMBERSHIP`): what is sent to it is received from now on.
    pub fn join(&self, group: u32) -> io::Result<()> {
        set_option(&self.socket, libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)
    }

    /// Makes room for so many bytes of datagrams that were not received yet; as many as the administrator allows
    /// (`net.core.rmem_max`) without `CAP_NET_ADMIN`. How many there is room for now.
    pub fn make_room(&self, bytes: usize) -> io::Result<usize> {
        if sockopt::set_socket_recv_buffer_size_force(&self.socket, bytes).is_err() {
            sockopt::set_socket_recv_buffer_size(&self.socket, bytes)?;
        }
        Ok(sockopt::socket_recv_buffer_size(&self.socket)?)
    }

    /// How many datagrams were lost so far because there was no room for them (`SO_MEMINFO`, Linux 4.12); wraps.
    pub fn lost(&self) -> io::Result<u32> {
        meminfo(&self.socket).map(|[.., drops]| drops)
    }

    /// How many bytes of the kernel's memory the datagrams take that were not received yet (`SO_MEMINFO`).
    pub fn waiting(&self) -> io::Result<u32> {
        meminfo(&self.socket).map(|[waiting, ..]| waiting)
    }

    fn receive_with(&mut self, flags: RecvFlags) -> io::Result<&[u8]> {
        loop {
            // MSG_TRUNC makes the kernel say how long the datagram was, not how much of it fitted.
            let flags = RecvFlags::TRUNC | flags;
            let (_, length, sender) = match recvfrom(&self.socket, self.buffer.as_mut_slice(), flags) {
                // A receive with a time-out is not restarted after a signal, whatever its handler says (signal(7)).
                Err(rustix::io::Errno::INTR) => continue,
                received => received?,
            };
            if !from_kernel(sender) {
                continue;
            }
            return self
                .buffer
                .get(..length)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "datagram cut off"));
        }
    }
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `setsockopt` with a number, for options that rustix does not have.
#[expect(unsafe_code, reason = "a socket option that no safe wrapper offers")]
fn set_option(socket: &OwnedFd, level: libc::c_int, name: libc::c_int, value: u32) -> io::Result<()> {
    // SAFETY: the descriptor is open for the length of the call, and the kernel reads 4 bytes from `value`, which is
    // 4 bytes long and lives longer than the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), 4) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `SK_MEMINFO_VARS` of `include/uapi/linux/sock_diag.h`; the first is `SK_MEMINFO_RMEM_ALLOC`, the last `SK_MEMINFO_DROPS`.
const SK_MEMINFO_VARS: usize = 9;

/// `getsockopt(SO_MEMINFO)`, which rustix does not have.
#[expect(unsafe_code, reason = "a socket option that no safe wrapper offers")]
fn meminfo(socket: &OwnedFd) -> io::Result<[u32; SK_MEMINFO_VARS]> {
    let mut numbers = [0u32; SK_MEMINFO_VARS];
    let size = libc::socklen_t::try_from(size_of_val(&numbers)).unwrap_or(0);
    let mut length = size;
    // SAFETY: the descriptor is open for the length of the call, and the kernel writes at most `length` bytes into
    // `numbers`, which is that long and lives longer than the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            numbers.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 && length == size { Ok(numbers) } else { Err(io::Error::last_os_error()) }
}

fn from_kernel(sender: Option<SocketAddrAny>) -> bool {
    sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok()).is_some_and(|sender| sender.pid() == 0)
}
