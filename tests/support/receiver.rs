//! OTLP receivers inside the test's own process: gRPC (tonic's service with its default limit of 4 MiB a message) and
//! HTTP/protobuf, with or without TLS, that record what they get and answer what they are told to.
//!
//! A receiver keeps its port from the first moment to the last, also while nobody listens on it, so that no other
//! test can be in its place when the agent tries again.

use super::PATIENCE;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tonic::codec::CompressionEncoding;
use tonic_types::{ErrorDetails, StatusExt};

/// What a receiver speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Grpc,
    Http,
}

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Behaviour {
    Accept,
    /// Takes the request and throws data points of it away.
    Partial {
        rejected: i64,
        message: &'static str,
    },
    /// Refuses, with the status of its protocol, and says when to come again if told to.
    Refuse {
        status: Status,
        message: &'static str,
        retry_after: Option<Duration>,
    },
    /// Never answers.
    Hang,
    /// Closes the connection instead of answering.
    Close,
}

/// How a refusal is worded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Status {
    Grpc(tonic::Code),
    Http(u16),
}

/// One request as it came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    /// Path of the URL; empty over gRPC.
    pub(crate) path: String,
    /// Headers or metadata.
    pub(crate) headers: HeaderMap,
    pub(crate) request: ExportMetricsServiceRequest,
    /// What was done with it.
    pub(crate) behaviour: Behaviour,
}

impl Received {
    /// A header, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header is text"))
    }
}

/// A receiver; gone when dropped.
pub(crate) struct Receiver {
    speaks: Speaks,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
    /// Bound and not listening: connections are refused.
    reserved: Mutex<Option<TcpSocket>>,
    accepting: Mutex<Option<tokio::task::JoinHandle<()>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

struct State {
    behaviour: Mutex<Behaviour>,
    received: Mutex<Vec<Arc<Received>>>,
    changed: Condvar,
    /// Connections end when this changes.
    closed: watch::Sender<u64>,
}

impl Receiver {
    /// One that listens, without TLS.
    pub(crate) fn start(speaks: Speaks) -> Self {
        let receiver = Self::reserve(speaks, None);
        receiver.up();
        receiver
    }

    /// One that listens, with TLS.
    pub(crate) fn start_tls(speaks: Speaks, tls: rustls::ServerConfig) -> Self {
        let receiver = Self::reserve(speaks, Some(tls));
        receiver.up();
        receiver
    }

    /// One that has a port and does not listen on it yet.
    pub(crate) fn reserve(speaks: Speaks, tls: Option<rustls::ServerConfig>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime for the receiver");
        let socket = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = socket.local_addr().expect("a bound socket has an address");
        let state = State {
            behaviour: Mutex::new(Behaviour::Accept),
            received: Mutex::default(),
            changed: Condvar::new(),
            closed: watch::Sender::new(0),
        };
        let tls = tls.map(|mut tls| {
            let protocol: &[u8] = if speaks == Speaks::Grpc { b"h2" } else { b"http/1.1" };
            tls.alpn_protocols = vec![protocol.to_vec()];
            TlsAcceptor::from(Arc::new(tls))
        });
        Self {
            speaks,
            address,
            tls,
            state: Arc::new(state),
            reserved: Mutex::new(Some(socket)),
            accepting: Mutex::default(),
            runtime: Some(runtime),
        }
    }

    fn runtime(&self) -> &tokio::runtime::Runtime {
        self.runtime.as_ref().expect("it is there until the drop")
    }

    /// Listens.
    pub(crate) fn up(&self) {
        let socket = self.reserved.lock().expect("no panic").take().expect("it was down");
        let _inside = self.runtime().enter();
        let listener = socket.listen(64).expect("listening");
        let (speaks, tls, state) = (self.speaks, self.tls.clone(), Arc::clone(&self.state));
        let task = self.runtime().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, state) = (tls.clone(), Arc::clone(&state));
                tokio::spawn(async move {
                    match tls {
                        None => serve(speaks, stream, state).await,
                        // A client that does not like the certificate hangs up; it is the one that tells.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(speaks, stream, state).await;
                            }
                        }
                    }
                });
            }
        });
        *self.accepting.lock().expect("no panic") = Some(task);
    }

    /// Stops listening and closes every connection; the port stays its own.
    pub(crate) fn down(&self) {
        let task = self.accepting.lock().expect("no panic").take().expect("it was up");
        task.abort();
        // The listener is closed when the task is gone, not when it is told to go.
        let _aborted = self.runtime().block_on(task);
        self.state.closed.send_modify(|closed| *closed += 1);
        *self.reserved.lock().expect("no panic") = Some(bind(self.address));
    }

    /// What it does from now on.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().expect("no panic") = behaviour;
    }

    /// URL without a path.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Address and port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came so far.
    pub(crate) fn received(&self) -> Vec<Arc<Received>> {
        self.state.received.lock().expect("no panic").clone()
    }

    /// Waits until what came is enough.
    pub(crate) fn wait<T>(&self, what: &str, mut enough: impl FnMut(&[Arc<Received>]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut received = self.state.received.lock().expect("no panic");
        loop {
            if let Some(found) = enough(&received) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let count = received.len();
            assert!(!left.is_zero(), "waited in vain for {what}; {count} requests came");
            received = self.state.changed.wait_timeout(received, left).expect("no panic").0;
        }
    }

    /// Waits for the request at this place.
    pub(crate) fn nth(&self, place: usize) -> Arc<Received> {
        self.wait(&format!("request {place}"), |received| received.get(place).cloned())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ports of receivers, below those the kernel gives to connections: an agent that tries a receiver which is down would
/// sooner or later be given the receiver's own port, connect to itself and keep the receiver from coming back.
static PORTS: AtomicU16 = AtomicU16::new(0);

fn bind(address: SocketAddr) -> TcpSocket {
    if address.port() != 0 {
        return try_bind(address).expect("binding again");
    }
    // Processes that run at the same time begin at different places.
    let first = u16::try_from(std::process::id() % 20_000).expect("small");
    loop {
        let port = 10_000 + (first + PORTS.fetch_add(1, Ordering::Relaxed) % 20_000) % 20_000;
        if let Ok(socket) = try_bind(SocketAddr::new(address.ip(), port)) {
            return socket;
        }
    }
}

fn try_bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // What is left of closed connections is not to keep the port from being listened on again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn serve(
    speaks: Speaks,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    state: Arc<State>,
) {
    let mut closed = state.closed.subscribe();
    let stream = TokioIo::new(stream);
    let ended = async {
        match speaks {
            Speaks::Grpc => {
                let service = MetricsServiceServer::new(Grpc(state))
                    .accept_compressed(CompressionEncoding::Gzip)
                    .accept_compressed(CompressionEncoding::Zstd);
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(stream, TowerToHyperService::new(service))
                    .await
            }
            Speaks::Http => {
                let service = hyper::service::service_fn(|request| answer(Arc::clone(&state), request));
                hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await
            }
        }
    };
    tokio::select! {
        // An agent that leaves does not say good-bye on every connection.
        _ended = ended => {}
        _closed = closed.changed() => {}
    }
}

impl State {
    /// Keeps a request; what is to be done with it.
    fn keep(&self, path: &str, headers: HeaderMap, request: ExportMetricsServiceRequest) -> Behaviour {
        let behaviour = *self.behaviour.lock().expect("no panic");
        let received = Received { at: Instant::now(), path: path.to_owned(), headers, request, behaviour };
        self.received.lock().expect("no panic").push(Arc::new(received));
        self.changed.notify_all();
        behaviour
    }

    async fn close<T>(&self) -> T {
        self.closed.send_modify(|closed| *closed += 1);
        std::future::pending().await
    }
}

fn response(behaviour: &Behaviour) -> ExportMetricsServiceResponse {
    let partial_success = match behaviour {
        Behaviour::Partial { rejected, message } => Some(ExportMetricsPartialSuccess {
            rejected_data_points: *rejected,
            error_message: (*message).to_owned(),
        }),
        _ => None,
    };
    ExportMetricsServiceResponse { partial_success }
}

struct Grpc(Arc<State>);

#[tonic::async_trait]
impl MetricsService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        let (metadata, _, message) = request.into_parts();
        let behaviour = self.0.keep("", metadata.into_headers(), message);
        match behaviour {
            Behaviour::Accept | Behaviour::Partial { .. } => Ok(tonic::Response::new(response(&behaviour))),
            Behaviour::Refuse { status, message, retry_after } => {
                let Status::Grpc(code) = status else { panic!("{status:?} is not gRPC's") };
                let details = ErrorDetails::with_retry_info(retry_after);
                Err(if retry_after.is_some() {
                    tonic::Status::with_error_details(code, message, details)
                } else {
                    tonic::Status::new(code, message)
                })
            }
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Close => self.0.close().await,
        }
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let encoding = parts.headers.get("content-encoding").map(hyper::header::HeaderValue::as_bytes);
    let body = match encoding {
        None => body.to_vec(),
        Some(b"gzip") => {
            let mut decoded = Vec::new();
            flate2::read::GzDecoder::new(body.as_ref()).read_to_end(&mut decoded).expect("gzip");
            decoded
        }
        Some(b"zstd") => zstd::decode_all(body.as_ref()).expect("zstd"),
        Some(encoding) => panic!("encoded with {encoding:?}"),
    };
    let message = ExportMetricsServiceRequest::decode(body.as_slice()).expect("protobuf");
    let behaviour = state.keep(parts.uri.path(), parts.headers, message);
    let answer = Response::builder().header("content-type", "application/x-protobuf");
    let answer = match behaviour {
        Behaviour::Accept | Behaviour::Partial { .. } => {
            answer.body(Full::from(response(&behaviour).encode_to_vec()))
        }
        Behaviour::Refuse { status, message, retry_after } => {
            let Status::Http(status) = status else { panic!("{status:?} is not HTTP's") };
            let said = tonic_types::pb::Status { message: message.to_owned(), ..Default::default() };
            let answer = match retry_after {
                None => answer,
                Some(after) => answer.header("retry-after", after.as_secs()),
            };
            answer.status(status).body(Full::from(said.encode_to_vec()))
        }
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Close => state.close().await,
    };
    Ok(answer.expect("an answer"))
}
