//! A TCP connection to one address, and how long it took.

use super::fault::Fault;
use super::origin::Origin;
use crate::metric::label::ProbeError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Socket, Type};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Connects, and says how long it took from the first packet on.
pub async fn tcp(origin: &Origin, peer: SocketAddr) -> Result<(TcpStream, Duration), Fault> {
    let socket = origin.socket_to(peer, Type::STREAM, None).await?;
    let began = Instant::now();
    begin(&socket, peer)?;
    // Over loopback the handshake is done before `connect` returns, and between two machines of a rack it may be:
    // what the runtime takes to notice is not the network's time.
    let at_once = established(&socket).then(|| began.elapsed());
    let stream = TcpStream::from_std(socket.into()).map_err(|error| Fault::io("connecting", &error))?;
    wait(&stream).await?;
    let took = at_once.unwrap_or_else(|| began.elapsed());
    Ok((stream, took))
}

/// Connects a socket that is there already.
pub async fn stream(socket: Socket, peer: SocketAddr) -> Result<TcpStream, Fault> {
    begin(&socket, peer)?;
    let stream = TcpStream::from_std(socket.into()).map_err(|error| Fault::io("connecting", &error))?;
    wait(&stream).await?;
    Ok(stream)
}

fn begin(socket: &Socket, peer: SocketAddr) -> Result<(), Fault> {
    match socket.connect(&peer.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
            Err(Fault::io(&format!("connecting to {peer}"), &error))
        }
        _ => Ok(()),
    }
}

/// Whether a connection is there, or has failed, without waiting.
fn established(socket: &Socket) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&now)).is_ok_and(|ready| ready > 0)
}

async fn wait(stream: &TcpStream) -> Result<(), Fault> {
    let failed = |error: std::io::Error| Fault::io("connecting", &error);
    stream.ready(Interest::WRITABLE).await.map_err(failed)?;
    stream.take_error().map_err(failed)?.map_or(Ok(()), |error| Err(failed(error)))?;
    let (here, peer) = (stream.local_addr().map_err(failed)?, stream.peer_addr().map_err(failed)?);
    if same(here, peer) { Err(nobody(peer)) } else { Ok(()) }
}

/// Whether both ends are one socket. Where nobody listens at a port of `ip_local_port_range`, the kernel may choose that
/// very port for this end, and the socket talks to itself.
pub fn same(here: SocketAddr, peer: SocketAddr) -> bool {
    (here.ip(), here.port()) == (peer.ip(), peer.port())
}

/// What is wrong where a socket talks to itself.
pub fn nobody(peer: SocketAddr) -> Fault {
    Fault::new(ProbeError::ConnectionRefused, format!("nobody is at {peer} but this end of the connection"))
}
