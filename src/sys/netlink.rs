//! A netlink socket: bytes out, datagrams in.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, bind, recvfrom,
    sendto, socket_with,
};
use std::io;
use std::os::fd::OwnedFd;
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
    /// Opens and binds a socket. `timeout` bounds each receive.
    pub fn open(protocol: Protocol, timeout: Duration) -> io::Result<Self> {
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(timeout))?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM] })
    }

    /// Sends one request to the kernel.
    pub fn send(&self, request: &[u8]) -> io::Result<()> {
        let sent = sendto(&self.socket, request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        if sent == request.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Receives one datagram of the kernel; datagrams of other processes are passed over.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        loop {
            // MSG_TRUNC makes the kernel say how long the datagram was, not how much of it fitted.
            let (_, length, sender) = recvfrom(&self.socket, self.buffer.as_mut_slice(), RecvFlags::TRUNC)?;
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

fn from_kernel(sender: Option<SocketAddrAny>) -> bool {
    sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok()).is_some_and(|sender| sender.pid() == 0)
}
