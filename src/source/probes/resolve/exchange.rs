//! Sends a query to a name server, over UDP, and over TCP if necessary.

use super::message::{Question, Response};
use crate::host::datagram::Arrival;
use crate::source::probes::config::NameServer;
use crate::source::probes::connect;
use crate::source::probes::datagram::Datagrams;
use crate::source::probes::fault::Fault;
use crate::source::probes::origin::Origin;
use socket2::Type;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Maximum size of a response over UDP, bytes.
const DATAGRAM: usize = 4096;

/// Maximum number of datagrams that answer another query, before this one is sent over TCP: an attacker guesses ids, or
/// the server is broken.
const STRAYS: usize = 32;

/// Sends the query and waits for the response; the caller has the time-out.
pub(super) async fn exchange(
    question: &Question,
    server: &NameServer,
    tcp: bool,
    origin: &Origin,
) -> Result<Response, Fault> {
    let server = address(server, origin).await?;
    if !tcp && let Some(response) = over_udp(question, server, origin).await? {
        return Ok(response);
    }
    over_tcp(question, server, origin).await
}

/// The address of a server; the zone of a link-local address is resolved to the index of an interface.
async fn address(server: &NameServer, origin: &Origin) -> Result<SocketAddr, Fault> {
    let mut address = server.address;
    if let (SocketAddr::V6(address), Some(zone)) = (&mut address, &server.zone) {
        address.set_scope_id(origin.scope(*address.ip(), Some(zone)).await?);
    }
    Ok(address)
}

/// Queries over UDP; `None` if TCP is needed.
async fn over_udp(
    question: &Question,
    server: SocketAddr,
    origin: &Origin,
) -> Result<Option<Response>, Fault> {
    let socket = origin.socket_to(server, Type::DGRAM, None).await?;
    // The kernel drops datagrams from any other address.
    socket
        .connect(&server.into())
        .map_err(|error| Fault::connecting(&format!("asking the name server {server}"), &error))?;
    let socket = Datagrams::new(socket)?;
    socket.send(question.bytes())?;
    let mut buffer = [0; DATAGRAM];
    for _ in 0..STRAYS {
        let arrival = socket.receive(&mut buffer).await.map_err(|error| Fault::io("asking", &error))?;
        let Arrival::Packet(length, _) = arrival else { continue };
        match buffer.get(..length).and_then(|bytes| question.response(bytes)) {
            Some(Response::Truncated) => break,
            Some(response) => return Ok(Some(response)),
            None => {}
        }
    }
    Ok(None)
}

async fn over_tcp(question: &Question, server: SocketAddr, origin: &Origin) -> Result<Response, Fault> {
    let failed = |error: std::io::Error| Fault::io("asking over TCP", &error);
    let (mut stream, _) = connect::tcp(origin, server).await?;
    let length = u16::try_from(question.bytes().len()).unwrap_or(0).to_be_bytes();
    stream.write_all(&[&length, question.bytes()].concat()).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await.map_err(failed)?;
    Ok(question.response(&bytes).unwrap_or(Response::Failed("nonsense")))
}
