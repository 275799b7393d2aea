//! OTLP over HTTP: protobuf in HTTP/1.1 requests (`specification/protocol/otlp.md`, "OTLP/HTTP").

#![expect(
    clippy::disallowed_methods,
    reason = "`Retry-After` may be a date, which is compared with the clock"
)]

use super::USER_AGENT;
use super::connect::{Connector, Driver, host_and_port};
use super::kept::{OpenConnection, ReusedConnection};
use super::proxy::Proxy;
use super::refusal::{Refusal, clean};
use crate::config::{Compression, Otlp, endpoint};
use crate::export::encode::Message;
use crate::export::error_type::ErrorType;
use crate::reading::chain;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION,
    RETRY_AFTER, USER_AGENT as USER_AGENT_HEADER,
};
use hyper::{HeaderMap, Request, Response, Uri};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message as _;
use std::ffi::OsString;
use std::io::Write;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// Maximum number of bytes read of a response body.
const MAX_BODY: usize = 64 * 1024;

/// A client of a receiver over HTTP.
pub struct Http {
    connections: ReusedConnection<SendRequest<Full<Bytes>>>,
    /// Target of the request: a path, or the whole URL for a proxy.
    target: Uri,
    headers: HeaderMap,
    compression: Compression,
}

impl Http {
    /// Creates the client. The error names the part of the configuration that is wrong.
    pub(super) fn new(otlp: &Otlp, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let url = otlp.endpoint.as_deref().unwrap_or_default();
        let uri: Uri = url.parse().map_err(|error| format!("export.otlp.endpoint: {error}"))?;
        let proxy = Proxy::of(&uri, variable)?;
        let connector = Connector::new(&uri, &otlp.tls, b"http/1.1", proxy)?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, authority(&uri)?);
        headers.insert(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        match otlp.compression {
            Compression::None => {}
            Compression::Gzip => _ = headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip")),
            Compression::Zstd => _ = headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd")),
        }
        for (name, value) in &otlp.headers {
            let wrong = || format!("export.otlp.headers: `{name}` cannot be sent");
            let name = HeaderName::from_str(name).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let target = match connector.forwarding_proxy() {
            Some(proxy) => {
                if let Some(authorization) = &proxy.authorization {
                    headers.insert(PROXY_AUTHORIZATION, authorization.clone());
                }
                uri
            }
            None => uri
                .path_and_query()
                .map_or("/", hyper::http::uri::PathAndQuery::as_str)
                .parse()
                .map_err(|error| format!("export.otlp.endpoint: {error}"))?,
        };
        Ok(Self {
            connections: ReusedConnection::new(connector),
            target,
            headers,
            compression: otlp.compression,
        })
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
        let body = compressed(&message.bytes, self.compression)
            .map_err(|error| Refusal::new(ErrorType::OTHER, format!("compressing: {error}")))?;
        let mut request = Request::post(self.target.clone())
            .body(Full::from(body))
            .map_err(|error| Refusal::new(ErrorType::OTHER, error.to_string()))?;
        request.headers_mut().clone_from(&self.headers);
        let mut connected = match self.connections.take(SendRequest::is_closed) {
            Some(connected) => connected,
            None => self.connect(within).await?,
        };
        let response = match connected.sender.try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut error) => match error.take_message() {
                // The receiver had closed the reused connection, and has not received the message.
                Some(request) => {
                    connected = self.connect(within).await?;
                    connected.sender.send_request(request).await
                }
                None => Err(error.into_error()),
            },
        };
        let read = match response {
            Ok(response) => ResponseParts::read(response).await,
            Err(error) => Err(error),
        };
        let (answer, whole) =
            read.map_err(|error| self.connections.unanswered(&connected, &chain(&error)))?;
        self.connections.answered(connected, whole);
        answer.outcome()
    }

    async fn connect(&self, within: Duration) -> Result<OpenConnection<SendRequest<Full<Bytes>>>, Refusal> {
        let (stream, opened) = self.connections.open(within).await?;
        let shaken = http1::handshake(stream).await;
        let shaken = shaken.map(|(sender, connection)| (sender, Driver::spawn(connection)));
        self.connections.connected(opened, shaken)
    }
}

/// Value of the header `Host`; the default port of the scheme is omitted.
fn authority(uri: &Uri) -> Result<HeaderValue, String> {
    let (host, port) = host_and_port(uri);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let own = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let authority = if port == own { host } else { format!("{host}:{port}") };
    HeaderValue::from_str(&authority).map_err(|error| format!("export.otlp.endpoint: {error}"))
}

fn compressed(body: &Bytes, compression: Compression) -> std::io::Result<Bytes> {
    match compression {
        Compression::None => Ok(body.clone()),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(body)?;
            encoder.finish().map(Bytes::from)
        }
        Compression::Zstd => zstd::encode_all(body.as_ref(), 0).map(Bytes::from),
    }
}

/// The parts of a response that are used.
struct ResponseParts {
    status: hyper::StatusCode,
    retry_after: Option<Duration>,
    /// Where a redirect leads.
    location: Option<String>,
    body: Vec<u8>,
}

impl ResponseParts {
    /// Reads a response. Returns whether the whole body was read.
    async fn read(response: Response<Incoming>) -> hyper::Result<(Self, bool)> {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| self::retry_after(value, SystemTime::now()));
        let location = response.headers().get(LOCATION).filter(|_| status.is_redirection());
        let location = location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let mut stream = response.into_body();
        let mut answer = Self { status, retry_after, location, body: Vec::new() };
        while let Some(frame) = stream.frame().await {
            let frame = frame?;
            let Some(data) = frame.data_ref() else { continue };
            let room = MAX_BODY - answer.body.len();
            answer.body.extend_from_slice(data.get(..room).unwrap_or(data));
            if data.len() > room {
                return Ok((answer, false));
            }
        }
        Ok((answer, true))
    }

    /// Statuses that are retried are those of the specification (`specification/protocol/otlp.md`, "Failures").
    fn outcome(self) -> Result<ExportMetricsServiceResponse, Refusal> {
        let Self { status, retry_after, location, body } = self;
        if status.is_success() {
            // A receiver that responds with something else (the page of a proxy) has accepted the message.
            return Ok(ExportMetricsServiceResponse::decode(body.as_slice()).unwrap_or_default());
        }
        let said = tonic_types::pb::Status::decode(body.as_slice())
            .map_or_else(|_| String::from_utf8_lossy(&body).into_owned(), |status| status.message);
        let said = match location.as_deref().map(endpoint::shown) {
            Some(location) => {
                format!("the receiver redirects to {location}; redirects are not followed, set this endpoint")
            }
            None => said,
        };
        let message =
            if said.trim().is_empty() { status.to_string() } else { format!("{status}: {}", clean(&said)) };
        Err(Refusal {
            error: ErrorType::http(status.as_u16()),
            message,
            retryable: matches!(status.as_u16(), 429 | 502 | 503 | 504),
            retry_after,
        })
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}
