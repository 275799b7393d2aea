//! Establishes a TCP connection to an address, and measures the duration.

#![expect(clippy::disallowed_methods, reason = "the duration of a connect is measured")]

use super::fault::Fault;
use super::origin::Origin;
use crate::source::probes::labels::ProbeError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Socket, Type};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Connects. Returns the stream, and the duration from the first packet.
pub async fn tcp(origin: &Origin, peer: SocketAddr) -> Result<(TcpStream, Duration), Fault> {
    let socket = origin.socket_to(peer, Type::STREAM, None).await?;
    let began = Instant::now();
    if let Err(error) = begin(&socket, peer) {
        let doing = format!("connecting to {peer}");
        let no_port = error.raw_os_error() == Some(libc::EADDRNOTAVAIL) && has_address(origin, peer).await;
        return Err(if no_port {
            Fault::local(&format!("{doing}: no local port is left"), &error)
        } else {
            Fault::connecting(&doing, &error)
        });
    }
    // Over loopback the handshake is complete before `connect` returns, and between nearby machines it may be: the time
    // until the runtime notices is not that of the network.
    let failed = |error: std::io::Error| Fault::io("connecting", &error);
    let at_once = established(&socket).then(|| began.elapsed());
    if at_once.is_some() {
        // Read now: a peer that accepts and resets at once was reachable.
        socket.take_error().map_err(failed)?.map_or(Ok(()), |error| Err(failed(error)))?;
    }
    let here = socket.local_addr().map_err(failed)?;
    if here.as_socket().is_some_and(|here| is_self(here, peer)) {
        return Err(self_connection(peer));
    }
    let stream = TcpStream::from_std(socket.into()).map_err(failed)?;
    if let Some(took) = at_once {
        return Ok((stream, took));
    }
    wait(&stream).await?;
    Ok((stream, began.elapsed()))
}

fn begin(socket: &Socket, peer: SocketAddr) -> std::io::Result<()> {
    match socket.connect(&peer.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(()),
    }
}

/// Whether this machine has a source address for a peer. A TCP socket gets `EADDRNOTAVAIL` without one (over IPv6), and
/// also without a free port; a datagram socket only in the former case.
async fn has_address(origin: &Origin, peer: SocketAddr) -> bool {
    // The source address was bound before, so another error is unrelated.
    let Ok(socket) = origin.socket_to(peer, Type::DGRAM, None).await else { return true };
    let connected = socket.connect(&peer.into());
    !connected.is_err_and(|error| error.raw_os_error() == Some(libc::EADDRNOTAVAIL))
}

/// Whether the connection is established or has failed, without waiting.
fn established(socket: &Socket) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&now)).is_ok_and(|ready| ready > 0)
}

async fn wait(stream: &TcpStream) -> Result<(), Fault> {
    let failed = |error: std::io::Error| Fault::io("connecting", &error);
    stream.ready(Interest::WRITABLE).await.map_err(failed)?;
    stream.take_error().map_err(failed)?.map_or(Ok(()), |error| Err(failed(error)))
}

/// Whether both ends of a connection are the same socket. For a port of `ip_local_port_range` without a listener, the
/// kernel may choose the same port for this end, and the socket connects to itself.
pub fn is_self(here: SocketAddr, peer: SocketAddr) -> bool {
    (here.ip(), here.port()) == (peer.ip(), peer.port())
}

/// The error of a socket that is connected to itself: nothing listens at the peer.
pub fn self_connection(peer: SocketAddr) -> Fault {
    Fault::new(
        ProbeError::ConnectionRefused,
        format!("nothing listens at {peer}: the connection was to itself (TCP simultaneous open)"),
    )
}
