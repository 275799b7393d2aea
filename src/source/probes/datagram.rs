//! A datagram socket that receives packets, and ICMP errors from its error queue.
//!
//! The runtime's UDP socket waits for data only. For an ICMP error without data epoll reports only `EPOLLERR`, so the
//! error would be noticed when the probe times out.

use super::fault::Fault;
use crate::host::datagram::{Arrival, receive};
use crate::sys::socket::watch;
use rustix::net::SendFlags;
use socket2::Socket;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A connected datagram socket.
#[derive(Debug)]
pub struct Datagrams {
    socket: AsyncFd<OwnedFd>,
}

impl Datagrams {
    /// Wraps a connected, non-blocking socket.
    pub fn new(socket: Socket) -> Result<Self, Fault> {
        let watched = watch(socket.into()).map_err(|error| Fault::io("making a socket", &error))?;
        Ok(Self { socket: watched })
    }

    /// Sends one datagram.
    pub fn send(&self, bytes: &[u8]) -> Result<(), Fault> {
        let send =
            || rustix::net::send(self.socket.get_ref(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        // An ICMP error of an earlier packet is reported by the next send, once (`sock_error` in `include/net/sock.h`).
        let sent = match send() {
            Err(rustix::io::Errno::MSGSIZE) => send(),
            sent => sent,
        };
        sent.map(|_| ()).map_err(|error| Fault::io("sending", &error.into()))
    }

    /// Waits until there is a packet or an error.
    pub async fn ready(&self) -> io::Result<()> {
        self.socket.ready(Interest::READABLE | Interest::ERROR).await.map(drop)
    }

    /// Waits for the next packet, timestamp or error.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Arrival> {
        loop {
            // If packets arrive faster than they are read, this loop never waits; consuming the budget lets other tasks
            // of the thread run.
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
        receive(self.socket.get_ref().as_fd(), buffer)
    }
}
