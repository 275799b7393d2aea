//! Connections to the receiver: every address of its name, an optional proxy, and TLS.

use super::proxy::Proxy;
use super::tls::Tls;
use crate::config::Tls as Files;
use crate::export::timeouts;
use crate::runtime::lookup::Lookup;
use crate::url::host_port;
use bounded::{Bounded, Budget};
use hyper::Uri;
pub(super) use observed::ConnectionObservation;
use observed::ObservedStream;
pub(super) use peer::Peer;
use route::{Route, Tunnel};
use rustls::pki_types::ServerName;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;

pub(super) mod bounded;
mod observed;
mod peer;
mod route;

/// Maximum number of addresses of a name that are tried.
const MAX_ADDRESSES: usize = 32;

/// A byte stream to the receiver.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// TLS configuration, and the name that the certificate of the peer must have.
type TlsServer = (Tls, ServerName<'static>);

/// Establishes connections to one receiver.
pub(super) struct Connector {
    destination: Destination,
    peer: Peer,
    proxy: Option<Proxy>,
    proxy_peer: Option<Peer>,
    proxy_tls: Option<TlsServer>,
    tls: Option<TlsServer>,
    /// Addresses at which the last message failed; they are tried last.
    failing: Mutex<Vec<SocketAddr>>,
}

/// Destination of a connection.
enum Destination {
    Unix(PathBuf),
    /// The receiver, or its proxy.
    Host {
        lookup: Lookup,
        receiver: String,
    },
}

/// A connection, with the budget of bytes to be read.
pub(super) struct Connection {
    pub(super) stream: Box<dyn Stream>,
    pub(super) budget: Budget,
    pub(super) address: Option<SocketAddr>,
    pub(super) observation: ConnectionObservation,
}

/// The task that drives a connection; aborted when this is dropped.
pub(super) struct Driver(JoinHandle<()>);

impl Driver {
    /// Starts the task. An error of the connection reaches the request that waits for a response.
    pub(super) fn spawn<E>(connection: impl Future<Output = Result<(), E>> + Send + 'static) -> Self {
        Self(tokio::spawn(async move {
            let _told = connection.await;
        }))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connector {
    /// Creates it for a receiver with an `http` or `https` URL. `protocol` is the name for ALPN.
    pub(super) fn new(
        uri: &Uri,
        files: &Files,
        protocol: &'static [u8],
        proxy: Option<Proxy>,
    ) -> Result<Self, String> {
        let named = |uri: &Uri, protocol| {
            let (host, _) = host_and_port(uri);
            let name = ServerName::try_from(host.clone());
            let name =
                name.map_err(|_| format!("export.otlp: `{host}` cannot be the name in a certificate"))?;
            Ok::<TlsServer, String>((Tls::new(files, protocol)?, name))
        };
        let secure = |uri: &&Uri| uri.scheme_str() == Some("https");
        let tls = Some(uri).filter(secure).map(|uri| named(uri, protocol)).transpose()?;
        let proxied = proxy.as_ref().map(|proxy| &proxy.uri);
        let proxy_tls = proxied.filter(secure).map(|uri| named(uri, b"http/1.1")).transpose()?;
        let (host, port) = host_and_port(uri);
        let receiver = host_port(&host, port);
        let address_of = |uri| format!("port {}", host_and_port(uri).1);
        let peer = Peer::receiver(protocol == b"h2", tls.is_some(), address_of(uri));
        let proxy_peer = proxy
            .as_ref()
            .map(|proxy| Peer::proxy(proxy.variable, proxy_tls.is_some(), address_of(&proxy.uri)));
        let (host, port) = host_and_port(proxied.unwrap_or(uri));
        let destination = Destination::Host { lookup: Lookup::new(host, port), receiver };
        Ok(Self { destination, peer, proxy, proxy_peer, proxy_tls, tls, failing: Mutex::default() })
    }

    /// Creates it for a receiver at a Unix socket.
    pub(super) fn unix(path: PathBuf) -> Self {
        let peer = Peer::receiver(true, false, path.display().to_string());
        let destination = Destination::Unix(path);
        Self {
            destination,
            peer,
            proxy: None,
            proxy_peer: None,
            proxy_tls: None,
            tls: None,
            failing: Mutex::default(),
        }
    }

    /// The proxy, if requests are sent to it and not through a tunnel: plain HTTP.
    pub(super) fn forwarding_proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| self.tls.is_none())
    }

    /// The peer of messages: the receiver, or a proxy that forwards them.
    pub(super) fn peer(&self) -> &Peer {
        self.proxy_peer.as_ref().filter(|_| self.tls.is_none()).unwrap_or(&self.peer)
    }

    /// Reloads certificates whose files have changed. Returns whether connections must be replaced.
    pub(super) fn refresh(&self) -> bool {
        let refresh = |named: &Option<TlsServer>| named.as_ref().is_some_and(|(tls, _)| tls.refresh());
        let (receiver, proxy) = (refresh(&self.tls), refresh(&self.proxy_tls));
        receiver || proxy
    }

    /// The name whose lookup had not ended when a connection attempt was cancelled.
    pub(super) fn looking_up(&self) -> Option<&str> {
        match &self.destination {
            Destination::Unix(_) => None,
            Destination::Host { lookup, .. } => lookup.unanswered(),
        }
    }

    /// Records that a message sent to this address has failed.
    pub(super) fn failed_at(&self, address: Option<SocketAddr>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = address.filter(|address| !failing.contains(address)) {
            failing.truncate(MAX_ADDRESSES);
            failing.push(address);
        }
    }

    /// Records that a message to this address was answered.
    pub(super) fn answered_at(&self, address: Option<SocketAddr>) {
        self.peer().has_answered();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.retain(|failed| Some(*failed) != address);
    }

    /// Connects, within a time. The addresses of the name are tried in order, each after a delay or when the one before
    /// it has failed; the first that is connected, including TLS, is used ("Happy Eyeballs", RFC 8305).
    pub(super) async fn connect(&self, within: Duration) -> Result<Connection, Error> {
        match &self.destination {
            Destination::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| {
                    Error::new(error.kind(), format!("connecting to {}: {error}", path.display()))
                })?;
                let budget = Budget::new();
                let (stream, observation) = ObservedStream::new(Bounded::new(stream, &budget));
                Ok(Connection { stream: Box::new(stream), budget, address: None, observation })
            }
            Destination::Host { lookup, receiver } => {
                let addresses = self.in_order(lookup.addresses().await?);
                let connector = |named: &Option<TlsServer>| {
                    named.as_ref().map(|(tls, name)| (TlsConnector::from(tls.config()), name.clone()))
                };
                let tunnel = self.proxy.as_ref().filter(|_| self.tls.is_some()).map(|proxy| Tunnel {
                    receiver: receiver.clone(),
                    authorization: proxy.authorization.clone(),
                });
                let route = Route {
                    peer: self.peer.clone(),
                    proxy: self.proxy_peer.clone(),
                    proxy_tls: connector(&self.proxy_tls),
                    tunnel,
                    tls: connector(&self.tls),
                };
                race(addresses, &Arc::new(route), within).await
            }
        }
    }

    /// Orders addresses: those at which the last message failed come last.
    fn in_order(&self, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, mut first): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|address| failing.contains(address));
        first.extend(last);
        first.truncate(MAX_ADDRESSES);
        first
    }
}

async fn race(addresses: Vec<SocketAddr>, route: &Arc<Route>, within: Duration) -> Result<Connection, Error> {
    let several = addresses.len() > 1;
    let shares = u32::try_from(addresses.len() + 1).unwrap_or(u32::MAX);
    let pause = timeouts::NEXT_ADDRESS.min(within / shares);
    let mut waiting = addresses.into_iter();
    let mut under_way = JoinSet::new();
    let mut failed: Option<Error> = None;
    loop {
        let next = waiting.next();
        let last = next.is_none();
        if let Some(address) = next {
            let route = Arc::clone(route);
            under_way.spawn(async move { route.connect(address).await.map_err(|error| (address, error)) });
        }
        let ended = tokio::select! {
            ended = under_way.join_next() => ended,
            () = tokio::time::sleep(pause), if !last => continue,
        };
        match ended {
            Some(Ok(Ok(connection))) => return Ok(connection),
            Some(Ok(Err((address, error)))) => {
                let error =
                    if several { Error::new(error.kind(), format!("{address}: {error}")) } else { error };
                // The first error is reported: the first address is the preferred one.
                failed.get_or_insert(error);
            }
            Some(Err(error)) => return Err(Error::other(error)),
            None => {
                return Err(
                    failed.unwrap_or_else(|| Error::new(ErrorKind::NotFound, "the name has no address"))
                );
            }
        }
    }
}

/// Host without brackets, and port.
pub(super) fn host_and_port(uri: &Uri) -> (String, u16) {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let secure = uri.scheme_str() == Some("https");
    (host, uri.port_u16().unwrap_or(if secure { 443 } else { 80 }))
}

#[cfg(test)]
mod tests {
    use super::{Peer, Route, race};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// An address without a response to the handshake: its accept queue is full. The connections that fill it are
    /// returned.
    fn silent() -> (SocketAddr, Vec<TcpStream>) {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
        socket.listen(0).expect("listening");
        let address = socket.local_addr().expect("an address").as_socket().expect("an address of IP");
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            waiting.push(stream);
        }
        std::mem::forget(socket);
        (address, waiting)
    }

    fn connected(addresses: Vec<SocketAddr>, within: Duration) -> Result<Option<SocketAddr>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let peer = Peer::receiver(true, false, "port 4317".to_owned());
        let route = Arc::new(Route { peer, proxy: None, proxy_tls: None, tunnel: None, tls: None });
        let ended =
            runtime.block_on(async { tokio::time::timeout(within, race(addresses, &route, within)).await });
        match ended {
            Ok(ended) => ended.map(|connection| connection.address).map_err(|error| error.to_string()),
            Err(_) => Err("no time is left".to_owned()),
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "that it took no longer is measured")]
    fn every_address_is_tried_within_the_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let there = listener.local_addr().expect("an address");
        let gone = TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr()).expect("a port");
        let (dead, _waiting) = silent();
        let within = Duration::from_secs(10);
        let began = Instant::now();
        assert_eq!(connected(vec![dead, dead, dead, gone, there], within), Ok(Some(there)));
        assert!(began.elapsed() < within, "{:?}", began.elapsed());
        // A short time is divided among the addresses.
        assert_eq!(
            connected(vec![dead; 9].into_iter().chain([there]).collect(), within / 3),
            Ok(Some(there))
        );
        drop(listener);
        let why = connected(vec![gone, dead], Duration::from_millis(500)).expect_err("nobody is there");
        assert_eq!(why, "no time is left");
        let why = connected(vec![gone, gone], within).expect_err("nobody is there");
        assert!(why.contains(&gone.to_string()) && why.contains("refused"), "{why}");
        assert!(connected(Vec::new(), within).expect_err("none").contains("no address"));
    }
}
