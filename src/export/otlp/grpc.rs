//! OTLP over gRPC (`specification/protocol/otlp.md`, "OTLP/gRPC").
//!
//! Messages are sent with tonic over a hyper connection that is established here: tonic's channel uses one address,
//! does not limit what is read, cannot reload certificates, and brings a load balancer and its packages.

use super::USER_AGENT;
use super::connect::{Connector, Driver};
use super::kept::{OpenConnection, ReusedConnection};
use super::refusal::{Refusal, clean};
use crate::config::{Compression, Otlp, endpoint};
use crate::export::encode::Message;
use crate::export::error_type::ErrorType;
use crate::export::timeouts;
use crate::reading::chain;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::bytes::BufMut;
use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codec::{Codec, CompressionEncoding, EncodeBuf, Encoder};
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic_prost::ProstDecoder;
use tonic_types::StatusExt;

/// Path of the service and its method.
const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Origin of a receiver at a Unix socket (`:authority`).
const ON_THIS_MACHINE: &str = "http://localhost";

/// A client of a receiver over gRPC.
pub struct Grpc {
    connections: ReusedConnection<Sender>,
    origin: Uri,
    metadata: MetadataMap,
    compression: Option<CompressionEncoding>,
    keepalive: Keepalive,
}

/// Keepalive of idle connections.
#[derive(Debug, Clone, Copy)]
pub struct Keepalive {
    /// Idle time before a ping.
    pub idle: Duration,
    /// Time-out of the response to a ping, after which the connection is closed.
    pub answer: Duration,
}

impl Keepalive {
    /// The keepalive for this push interval: at most two pings between two pushes.
    pub fn between(interval: Duration) -> Self {
        let idle = timeouts::HTTP2_KEEPALIVE.max(interval * 2 / 5);
        Self { idle, answer: timeouts::HTTP2_KEEPALIVE_ANSWER }
    }
}

/// A connection in the form that tonic needs.
#[derive(Clone)]
struct Sender(SendRequest<Whole>);

/// The body of a request in one piece. Its last frame of data also ends the stream: tonic's body does that with a frame, a
/// system call and a packet more. Its size is not said, as gRPC has no `content-length`.
struct Whole(Option<Bytes>);

impl hyper::body::Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

impl GrpcService<Body> for Sender {
    type ResponseBody = Incoming;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut sender = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(sender.send_request(Request::from_parts(parts, Whole(Some(body)))).await?)
        })
    }
}

/// A codec for encoded requests; responses are decoded by prost.
struct EncodedCodec;

/// Encoder that copies the bytes of a message.
struct EncodedWriter;

impl Codec for EncodedCodec {
    type Encode = Message;
    type Decode = ExportMetricsServiceResponse;
    type Encoder = EncodedWriter;
    type Decoder = ProstDecoder<ExportMetricsServiceResponse>;

    fn encoder(&mut self) -> Self::Encoder {
        EncodedWriter
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

impl Encoder for EncodedWriter {
    type Item = Message;
    type Error = tonic::Status;

    fn encode(&mut self, message: Message, out: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        out.reserve(message.bytes.len());
        out.put(message.bytes);
        Ok(())
    }
}

impl Grpc {
    /// Creates the client. The error names the part of the configuration that is wrong.
    pub(super) fn new(otlp: &Otlp, keepalive: Keepalive) -> Result<Self, String> {
        let url = otlp.endpoint.as_deref().unwrap_or_default();
        let (origin, connector) = if let Some(path) = endpoint::unix_path(url) {
            (Uri::from_static(ON_THIS_MACHINE), Connector::unix(path.to_owned()))
        } else {
            let uri: Uri = url.parse().map_err(|error| format!("export.otlp.endpoint: {error}"))?;
            let connector = Connector::new(&uri, &otlp.tls, b"h2", None)?;
            (uri, connector)
        };
        let mut metadata = MetadataMap::new();
        metadata.insert("user-agent", MetadataValue::from_static(USER_AGENT));
        for (name, value) in &otlp.headers {
            let wrong = || format!("export.otlp.headers: `{name}` cannot be sent as gRPC metadata");
            let key = MetadataKey::from_str(name).map_err(|_| wrong())?;
            metadata.insert(key, MetadataValue::from_str(value).map_err(|_| wrong())?);
        }
        let compression = match otlp.compression {
            Compression::None => None,
            Compression::Gzip => Some(CompressionEncoding::Gzip),
            Compression::Zstd => Some(CompressionEncoding::Zstd),
        };
        Ok(Self { connections: ReusedConnection::new(connector), origin, metadata, compression, keepalive })
    }

    pub(super) fn refresh(&self) {
        self.connections.refresh();
    }

    pub(super) fn looking_up(&self) -> Option<&str> {
        self.connections.looking_up()
    }

    pub(super) async fn send(
        &self,
        message: &Message,
        within: Duration,
    ) -> Result<ExportMetricsServiceResponse, Refusal> {
        let connected = match self.connections.take(|sender| sender.0.is_closed()) {
            Some(connected) => connected,
            None => self.connect(within).await?,
        };
        let mut client = tonic::client::Grpc::with_origin(connected.sender.clone(), self.origin.clone());
        if let Some(compression) = self.compression {
            client = client.send_compressed(compression).accept_compressed(compression);
        }
        let ready = client.ready().await;
        ready.map_err(|error| self.connections.unanswered(&connected, &chain(&*error)))?;
        let mut request = tonic::Request::new(message.clone());
        *request.metadata_mut() = self.metadata.clone();
        let answer = client.unary(request, PathAndQuery::from_static(EXPORT), EncodedCodec).await;
        match answer {
            // An error with a source comes from the connection, not from the receiver. tonic reports a connection that
            // breaks during a request as `Unknown`, `Internal` or `Cancelled`, which may be final if the receiver sends
            // them.
            Err(status) if Error::source(&status).is_some() => {
                Err(self.connections.unanswered(&connected, &causes(&status)))
            }
            answer => {
                self.connections.answered(connected, true);
                answer.map(tonic::Response::into_inner).map_err(|status| self.refusal(&status))
            }
        }
    }

    async fn connect(&self, within: Duration) -> Result<OpenConnection<Sender>, Refusal> {
        let (stream, opened) = self.connections.open(within).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(self.keepalive.idle)
            .keep_alive_timeout(self.keepalive.answer)
            .keep_alive_while_idle(true);
        let shaken = builder.handshake(stream).await;
        let shaken = shaken.map(|(sender, connection)| (Sender(sender), Driver::spawn(connection)));
        self.connections.connected(opened, shaken)
    }

    /// Statuses that are retried are those of the specification (`specification/protocol/otlp.md`, "Failures").
    fn refusal(&self, status: &tonic::Status) -> Refusal {
        use tonic::Code;
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let retryable = match status.code() {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => true,
            Code::ResourceExhausted => retry_after.is_some(),
            _ => false,
        };
        let error = ErrorType::grpc(status.code());
        let mut message = format!("{}: {}", error.word(), clean(status.message()));
        // tonic's message of an HTTP/2 response without gRPC.
        if status.message().starts_with("grpc-status header missing") {
            message = format!("{message}; {}", self.connections.peer().without_grpc());
        }
        Refusal { error, message, retryable, retry_after }
    }
}

/// The message of a status, with those of its sources that add to it.
fn causes(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = Error::source(status);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
