//! What the endpoint listens on.

use rustix::io::Errno;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 4096;

/// Binds the endpoint: name or address and port. A name may have several addresses; the first that works is used. No host
/// is every address of both families, or of IPv4 where the machine has no IPv6, and only there: with a port that IPv6 has
/// in use, half of those who ask would get an answer from somebody else.
pub async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    if host.is_empty() {
        return listen((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| {
            // Not compiled in or not loaded; `ipv6.disable=1`; the sysctl `disable_ipv6`.
            let none = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT];
            if !none.iter().any(|none| error.raw_os_error() == Some(none.raw_os_error())) {
                return Err(error);
            }
            let listener = listen((Ipv4Addr::UNSPECIFIED, port).into())?;
            tracing::info!(%error, "the endpoint listens on IPv4 only: there is no IPv6 here");
            Ok(listener)
        });
    }
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in tokio::net::lookup_host((host, port)).await? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    if address.ip().is_unspecified() && address.is_ipv6() {
        socket.set_only_v6(false)?; // whatever net.ipv6.bindv6only says
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
