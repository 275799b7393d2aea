//! A datagram socket that learns of ICMP errors: packets, the error queue, and waiting for either.
//!
//! The runtime's own UDP socket waits for data only. An ICMP error without data makes epoll say `EPOLLERR` and nothing
//! else, so it would be noticed when the time of the probe is up.

use super::fault::Fault;
use crate::sys::socket::{ORIGIN_TIMESTAMPING, Received, receive, watch};
use rustix::net::SendFlags;
use socket2::Socket;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How often one datagram is repeated because it is too big for the network path: a path has few such routers.
pub const RESENDS: u32 = 8;

/// A connected datagram socket.
#[derive(Debug)]
pub struct Datagrams {
    socket: AsyncFd<OwnedFd>,
}

/// A received datagram, or an ICMP error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// A packet of the peer: its length, and when the kernel saw it, since 1970.
    Packet(usize, Option<Duration>),
    /// When the kernel handed a packet of ours to the device, since 1970.
    Sent(Duration),
    /// A router dropped a packet that is larger than the MTU of the network path; so many of its bytes were quoted, from the
    /// header of its transport protocol on. The kernel has learned the MTU and fragments from now on: send it again.
    TooBig(usize),
}

impl Datagrams {
    /// Takes a connected socket that does not block.
    pub fn new(socket: Socket) -> Result<Self, Fault> {
        let watched = watch(socket.into()).map_err(|error| Fault::io("making a socket", &error))?;
        Ok(Self { socket: watched })
    }

    /// Sends one datagram.
    pub fn send(&self, bytes: &[u8]) -> Result<(), Fault> {
        let send =
            || rustix::net::send(self.socket.get_ref(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        // What a router said of a packet before is reported here, once (`sock_error` in `include/net/sock.h`).
        let sent = match send() {
            Err(rustix::io::Errno::MSGSIZE) => send(),
            sent => sent,
        };
        sent.map(|_| ()).map_err(|error| Fault::io("sending", &error.into()))
    }

    /// Waits until there is something to receive.
    pub async fn ready(&self) -> io::Result<()> {
        self.socket.ready(Interest::READABLE | Interest::ERROR).await.map(drop)
    }

    /// Waits for the next packet, time stamp or error.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Arrival> {
        loop {
            // Where packets come faster than they are looked at, this never waits: once in a while it gives everything else on this
            // thread time to run.
            tokio::task::coop::consume_budget().await;
            match self.try_receive(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                came => return came,
            }
            let mut ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
            match self.try_receive(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                came => return came,
            }
        }
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Arrival> {
        // The error queue first: the stamp of a packet has to be known when its answer is looked at.
        if let Some(arrival) = self.try_error_queue(buffer)? {
            return Ok(arrival);
        }
        match receive(self.socket.get_ref().as_fd(), buffer, false) {
            Ok(packet) => Ok(Arrival::Packet(packet.length, packet.stamp)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // An ICMP error that came in between is in the queue, too, which says more of it.
            Err(error) => self.try_error_queue(buffer)?.ok_or(error),
        }
    }

    fn try_error_queue(&self, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
        match receive(self.socket.get_ref().as_fd(), buffer, true) {
            Ok(Received { stamp: Some(stamp), error: Some(extended), .. })
                if extended.origin == ORIGIN_TIMESTAMPING =>
            {
                Ok(Some(Arrival::Sent(stamp)))
            }
            Ok(Received { length, error: Some(extended), .. }) if extended.errno == libc::EMSGSIZE => {
                Ok(Some(Arrival::TooBig(length)))
            }
            Ok(Received { error: Some(extended), .. }) if extended.errno != 0 => {
                Err(io::Error::from_raw_os_error(extended.errno))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
