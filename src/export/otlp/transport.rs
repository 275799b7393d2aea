//! One OTLP message to the receiver and its answer back, over gRPC or HTTP/protobuf.
//!
//! What may be tried again is the specification's list (`specification/protocol/otlp.md`, "Failures").

use crate::config::{Compression, Otlp, Protocol, Tls};
use crate::metric::label::ErrorType;
use crate::source::chain;
use crate::timeouts;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_types::StatusExt;

/// How the agent introduces itself.
const USER_AGENT: &str = concat!("connscope/", env!("CARGO_PKG_VERSION"));

/// Most of an answer's body that is read.
const MOST_ANSWER: usize = 64 * 1024;

/// Most characters of what a receiver said that go into the log.
const MOST_SAID: usize = 200;

/// Why a message was not taken.
#[derive(Debug)]
pub struct Refusal {
    /// For `error.type`.
    pub error: ErrorType,
    /// For the log: what the receiver or the connection said.
    pub message: String,
    /// Whether the same message may be taken later.
    pub retryable: bool,
    /// When, if the receiver said.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// One that is final.
    pub fn new(error: ErrorType, message: impl Into<String>) -> Self {
        Self { error, message: message.into(), retryable: false, retry_after: None }
    }
}

/// What a receiver that took a message threw away of it.
#[derive(Debug, Default)]
pub struct Rejected {
    /// Data points.
    pub points: u64,
    /// Why.
    pub message: String,
}

/// The way to the receiver. The connection is made when it is first needed, and again when it is lost.
pub enum Transport {
    /// gRPC.
    Grpc(Box<Grpc>),
    /// HTTP/protobuf.
    Http(Http),
}

/// gRPC over HTTP/2.
pub struct Grpc {
    endpoint: Endpoint,
    url: String,
    metadata: MetadataMap,
    compression: Option<CompressionEncoding>,
    client: Mutex<MetricsServiceClient<Channel>>,
}

/// HTTP/protobuf over HTTP/1.1.
pub struct Http {
    client: reqwest::Client,
    url: String,
    compression: Compression,
}

/// The certificates, read.
#[derive(Default)]
struct Pem {
    authority: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl Pem {
    fn read(tls: &Tls) -> Result<Self, String> {
        let read = |path: &Option<std::path::PathBuf>, name| match path {
            None => Ok(None),
            Some(path) => pem(path).map(Some).map_err(|why| format!("export.otlp.tls.{name}: {why}")),
        };
        Ok(Self {
            authority: read(&tls.ca_file, "ca_file")?,
            certificate: read(&tls.cert_file, "cert_file")?,
            key: read(&tls.key_file, "key_file")?,
        })
    }
}

fn pem(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if !bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        return Err(format!("{}: not a PEM file", path.display()));
    }
    Ok(bytes)
}

impl Transport {
    /// Prepares the way; nothing is connected yet. The error names what in the configuration is wrong. To be called
    /// inside a tokio runtime.
    pub fn new(otlp: &Otlp) -> Result<Self, String> {
        let pem = Pem::read(&otlp.tls)?;
        let url = otlp.endpoint.clone().unwrap_or_default();
        match otlp.protocol {
            Protocol::HttpProtobuf => Http::new(otlp, url, pem).map(Self::Http),
            _ => Grpc::new(otlp, url, pem).map(Box::new).map(Self::Grpc),
        }
    }

    /// URL of the receiver.
    pub fn endpoint(&self) -> &str {
        match self {
            Self::Grpc(grpc) => &grpc.url,
            Self::Http(http) => &http.url,
        }
    }

    /// Sends one message. The caller gives up after `timeout`; the transport, a little later.
    pub async fn send(
        &self,
        message: ExportMetricsServiceRequest,
        timeout: Duration,
    ) -> Result<Rejected, Refusal> {
        let response = match self {
            Self::Grpc(grpc) => grpc.send(message).await?,
            Self::Http(http) => http.send(&message, timeout).await?,
        };
        let rejected = response.partial_success.unwrap_or_default();
        Ok(Rejected {
            points: u64::try_from(rejected.rejected_data_points).unwrap_or(0),
            message: clean(&rejected.error_message),
        })
    }

    /// Forgets the connection, so that the next message makes another.
    pub fn reconnect(&self) {
        if let Self::Grpc(grpc) = self {
            let mut client = grpc.client.lock().unwrap_or_else(PoisonError::into_inner);
            *client = grpc_client(&grpc.endpoint, grpc.compression);
        }
    }
}

/// Whether TLS is spoken to this URL; a scheme may be written in capitals.
fn is_https(url: &str) -> bool {
    url.parse().is_ok_and(|uri: hyper::Uri| uri.scheme_str() == Some("https"))
}

/// What somebody else said, fit for a line of the log.
fn clean(said: &str) -> String {
    said.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(MOST_SAID)
        .collect()
}

fn grpc_client(
    endpoint: &Endpoint,
    compression: Option<CompressionEncoding>,
) -> MetricsServiceClient<Channel> {
    let client = MetricsServiceClient::new(endpoint.connect_lazy());
    match compression {
        Some(compression) => client.send_compressed(compression).accept_compressed(compression),
        None => client,
    }
}

impl Grpc {
    fn new(otlp: &Otlp, url: String, pem: Pem) -> Result<Self, String> {
        let wrong = |error: tonic::transport::Error| format!("export.otlp: {}", chain(&error));
        let mut endpoint = Endpoint::from_shared(url.clone())
            .and_then(|endpoint| endpoint.user_agent(USER_AGENT))
            .map_err(wrong)?
            .connect_timeout(otlp.timeout);
        if is_https(&url) {
            let mut tls = ClientTlsConfig::new();
            tls = match pem.authority {
                Some(authority) => tls.ca_certificate(Certificate::from_pem(authority)),
                // Without this the list of authorities is empty and no receiver is ever trusted.
                None => tls.with_native_roots(),
            };
            if let (Some(certificate), Some(key)) = (pem.certificate, pem.key) {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            endpoint = endpoint.tls_config(tls).map_err(wrong)?;
        }
        let compression = match otlp.compression {
            Compression::None => None,
            Compression::Gzip => Some(CompressionEncoding::Gzip),
            Compression::Zstd => Some(CompressionEncoding::Zstd),
        };
        let client = Mutex::new(grpc_client(&endpoint, compression));
        let mut metadata = MetadataMap::new();
        for (name, value) in &otlp.headers {
            let wrong = || format!("export.otlp.headers: `{name}` cannot be sent as gRPC metadata");
            let key = MetadataKey::from_str(name).map_err(|_| wrong())?;
            metadata.insert(key, MetadataValue::from_str(value).map_err(|_| wrong())?);
        }
        Ok(Self { endpoint, url, metadata, compression, client })
    }

    async fn send(
        &self,
        message: ExportMetricsServiceRequest,
    ) -> Result<ExportMetricsServiceResponse, Refusal> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        match client.export(request).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(grpc_refusal(&status)),
        }
    }
}

/// What a status says and its causes add to that; they repeat each other.
fn causes(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
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

fn grpc_refusal(status: &tonic::Status) -> Refusal {
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
    // What has a cause came from the connection, not from the receiver. tonic calls one that breaks under a message
    // `Unknown`, `Internal` or `Cancelled`, which from a receiver may be final.
    if std::error::Error::source(status).is_some() {
        let message = clean(&causes(status));
        return Refusal { error: ErrorType::CONNECTION, message, retryable: true, retry_after: None };
    }
    let error = ErrorType::grpc(status.code());
    let message = format!("{}: {}", error.word(), clean(status.message()));
    Refusal { error, message, retryable, retry_after }
}

impl Http {
    fn new(otlp: &Otlp, url: String, pem: Pem) -> Result<Self, String> {
        let wrong = |error: reqwest::Error| format!("export.otlp: {}", chain(&error));
        let mut headers = reqwest::header::HeaderMap::new();
        for (name, value) in &otlp.headers {
            let wrong = || format!("export.otlp.headers: `{name}` cannot be sent");
            let name = reqwest::header::HeaderName::from_str(name).map_err(|_| wrong())?;
            let mut value = reqwest::header::HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let builder = || {
            reqwest::Client::builder()
                .user_agent(USER_AGENT)
                .default_headers(headers.clone())
                .redirect(reqwest::redirect::Policy::none())
        };
        let mut secure = builder();
        if let Some(authority) = pem.authority {
            let authorities = reqwest::Certificate::from_pem_bundle(&authority).map_err(wrong)?;
            secure = secure.tls_certs_only(authorities);
        }
        if let (Some(mut certificate), Some(key)) = (pem.certificate, pem.key) {
            certificate.push(b'\n');
            certificate.extend(key);
            secure = secure.identity(reqwest::Identity::from_pem(&certificate).map_err(wrong)?);
        }
        let client = secure.build().or_else(|error| {
            // The client wants the system's authorities even where it is never to use them, and a small container
            // has none.
            if is_https(&url) { Err(error) } else { builder().tls_certs_only([]).build() }
        });
        let client = client.map_err(wrong)?;
        Ok(Self { client, url, compression: otlp.compression })
    }

    async fn send(
        &self,
        message: &ExportMetricsServiceRequest,
        timeout: Duration,
    ) -> Result<ExportMetricsServiceResponse, Refusal> {
        let mut request = self
            .client
            .post(&self.url)
            .timeout(timeout + timeouts::GRACE) // the caller's comes first, and says what was waited for
            .header(reqwest::header::CONTENT_TYPE, "application/x-protobuf");
        let body = message.encode_to_vec();
        let failed = |error: std::io::Error| Refusal::new(ErrorType::OTHER, format!("compressing: {error}"));
        let body = match self.compression {
            Compression::None => body,
            Compression::Gzip => {
                request = request.header(reqwest::header::CONTENT_ENCODING, "gzip");
                gzip(&body).map_err(failed)?
            }
            Compression::Zstd => {
                request = request.header(reqwest::header::CONTENT_ENCODING, "zstd");
                zstd::encode_all(body.as_slice(), 0).map_err(failed)?
            }
        };
        let response = request.body(body).send().await.map_err(|error| connection_refusal(&error))?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(reqwest::header::RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?));
        let answer = read(response).await.map_err(|error| connection_refusal(&error))?;
        if status.is_success() {
            // A receiver that answers with something else (a proxy's page) has taken the message all the same.
            return Ok(ExportMetricsServiceResponse::decode(answer.as_slice()).unwrap_or_default());
        }
        let said = tonic_types::pb::Status::decode(answer.as_slice())
            .map_or_else(|_| String::from_utf8_lossy(&answer).into_owned(), |status| status.message);
        Err(Refusal {
            error: ErrorType::http(status.as_u16()),
            message: format!("{status}: {}", clean(&said)),
            retryable: matches!(status.as_u16(), 429 | 502 | 503 | 504),
            retry_after,
        })
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body)?;
    encoder.finish()
}

/// Reads an answer's body, as much of it as anybody needs.
async fn read(mut response: reqwest::Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = MOST_ANSWER - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() >= MOST_ANSWER {
            break;
        }
    }
    Ok(body)
}

fn connection_refusal(error: &reqwest::Error) -> Refusal {
    let error_type = if error.is_timeout() { ErrorType::TIMEOUT } else { ErrorType::CONNECTION };
    // A URL may hold what is not for the log; it is said elsewhere.
    let message = std::error::Error::source(error).map_or_else(|| error.to_string(), chain);
    Refusal { error: error_type, message, retryable: true, retry_after: None }
}
