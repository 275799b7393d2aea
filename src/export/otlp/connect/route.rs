//! Establishes a connection to an address: TCP, proxy, TLS.

use super::bounded::{Bounded, Budget};
use super::observed::ObservedStream;
use super::peer::Peer;
use super::{Connection, Driver, Stream};
use crate::export::timeouts;
use crate::reading::chain;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::io::Error;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

type Secured = (TlsConnector, ServerName<'static>);

/// The steps between an address and the receiver.
pub(super) struct Route {
    pub(super) peer: Peer,
    /// The peer at the address, if it is a proxy.
    pub(super) proxy: Option<Peer>,
    pub(super) proxy_tls: Option<Secured>,
    pub(super) tunnel: Option<Tunnel>,
    pub(super) tls: Option<Secured>,
}

/// A tunnel through a proxy (`CONNECT`, RFC 9110, section 9.3.6).
pub(super) struct Tunnel {
    /// Host and port of the receiver.
    pub(super) receiver: String,
    pub(super) authorization: Option<HeaderValue>,
}

impl Route {
    /// Connects to an address.
    pub(super) async fn connect(&self, address: SocketAddr) -> Result<Connection, Error> {
        let proxied = |error: Error| match &self.proxy {
            Some(proxy) => Error::new(error.kind(), format!("{}: {error}", proxy.name())),
            None => error,
        };
        // Only the variable says where the proxy is, and not what was made of it.
        let unreached = |error: Error| match &self.proxy {
            Some(proxy) => Error::new(error.kind(), format!("{} at {address}: {error}", proxy.name())),
            None => error,
        };
        let stream = TcpStream::connect(address).await.map_err(unreached)?;
        // Failure only makes small messages slower.
        let _slower = stream.set_nodelay(true);
        let keepalive = TcpKeepalive::new()
            .with_time(timeouts::TCP_KEEPALIVE)
            .with_interval(timeouts::TCP_KEEPALIVE)
            .with_retries(3);
        let _unnoticed = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        let budget = Budget::new();
        let mut stream: Box<dyn Stream> = Box::new(Bounded::new(stream, &budget));
        if let Some((proxy, tls)) = self.proxy.as_ref().zip(self.proxy_tls.as_ref()) {
            stream = secure(tls, stream, proxy).await.map_err(proxied)?;
        }
        if let Some((proxy, tunnel)) = self.proxy.as_ref().zip(self.tunnel.as_ref()) {
            stream = tunnel.open(stream, proxy).await.map_err(proxied)?;
        }
        if let Some(tls) = &self.tls {
            stream = secure(tls, stream, &self.peer).await?;
        }
        budget.renew();
        let (stream, observation) = ObservedStream::new(stream);
        Ok(Connection { stream: Box::new(stream), budget, address: Some(address), observation })
    }
}

async fn secure(
    (connector, name): &Secured,
    stream: Box<dyn Stream>,
    peer: &Peer,
) -> Result<Box<dyn Stream>, Error> {
    let stream = connector.connect(name.clone(), stream).await;
    Ok(Box::new(stream.map_err(|error| Error::new(error.kind(), peer.handshake(&error)))?))
}

impl Tunnel {
    async fn open(&self, stream: Box<dyn Stream>, proxy: &Peer) -> Result<Box<dyn Stream>, Error> {
        let (stream, observation) = ObservedStream::new(stream);
        let broken = |error: hyper::Error| Error::other(proxy.broken(&observation, &chain(&error)));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut request = Request::builder().method(Method::CONNECT).uri(&self.receiver);
        request = request.header(HOST, &self.receiver);
        if let Some(authorization) = &self.authorization {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(Error::other)?;
        let _driver = Driver::spawn(connection.with_upgrades());
        let answer = sender.send_request(request).await.map_err(broken)?;
        if !answer.status().is_success() {
            return Err(Error::other(format!("it answers {} to CONNECT {}", answer.status(), self.receiver)));
        }
        let stream = hyper::upgrade::on(answer).await.map_err(Error::other)?;
        Ok(Box::new(TokioIo::new(stream)))
    }
}
