//! HTTP/1.1 probe: a request over its own connection, redirects, status and body.

use super::expectation::{Expectation, find};
use super::tls::Tls;
use crate::peer::{FirstBytes, Protocol};
use crate::source::probes::attempt::Attempt;
use crate::source::probes::config::{Http as HttpSettings, Method, Target as Settings, TargetTls};
use crate::source::probes::connect;
use crate::source::probes::fault::Fault;
use crate::source::probes::labels::{Phase, ProbeError};
use crate::source::probes::result::HttpResponse;
use crate::text::{LONGEST_NAME, bounded};
use crate::url::{Scheme, Url};
use cookies::Cookies;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, percent_encode};
use std::time::{Instant, SystemTime};
use stream::{ResponseStream, explain};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::task::JoinHandle;

pub mod cookies;
mod normalize;
pub mod stream;

/// Maximum number of header lines of a response; hyper limits their size (408 KiB).
const HEADERS: usize = 4096;

/// Maximum number of bytes of a body that `expect_body` is matched with.
const MATCHED: usize = 64 * 1024;

/// Maximum number of bytes of a body that are read; a probe is not a download.
const READ: usize = 1024 * 1024;

/// Maximum number of bytes read from a connection, including heads; then it reads as ended.
const RECEIVED: u64 = 2 * 1024 * 1024;

/// An HTTP probe.
#[derive(Debug)]
pub struct Http {
    url: Url,
    settings: HttpSettings,
    expect: Option<Expectation>,
    tls: Option<Tls>,
}

/// The task that drives a connection; aborted when this is dropped.
struct ConnectionTask(JoinHandle<()>);

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Http {
    /// Creates the probe from its settings.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let url = Url::parse(&settings.url).map_err(|why| format!("has a url that {why}"))?;
        if let Some(other) = settings.tls.alpn.iter().find(|offered| *offered != "http/1.1") {
            return Err(format!("offers {other} in tls.alpn, but the probe uses HTTP/1.1"));
        }
        // A redirect may lead from http to https.
        let may_speak_tls = url.scheme() == Scheme::Https || settings.http.redirects > 0;
        let mut named = settings.tls.clone();
        if let Some(host) = configured_host(&settings.http).filter(|_| named.server_name.is_empty()) {
            named.server_name = host;
        }
        let tls = may_speak_tls.then(|| Tls::new(&named, url.host(), &["http/1.1"]));
        let tls = match tls.transpose() {
            Ok(tls) => tls,
            // Without CA certificates plain HTTP still works, if no TLS settings are configured.
            Err(_) if url.scheme() == Scheme::Http && settings.tls == TargetTls::default() => None,
            Err(why) => return Err(why),
        };
        let expect = Expectation::new(settings.http.expect_body.as_ref(), None)?;
        Ok(Self { url, settings: settings.http.clone(), expect, tls })
    }

    /// The TLS client, if it may use TLS.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Sends the request, follows redirects, and checks the response.
    pub async fn run(&self, attempt: &mut Attempt<'_>) -> Result<(), Fault> {
        let mut url = self.url.clone();
        let mut method = self.settings.method;
        let mut cookies = Cookies::default();
        for redirects in 0..=self.settings.redirects {
            let exchange = self.exchange(attempt, &url, method, &cookies).await?;
            let response = &exchange.response;
            let status = response.status().as_u16();
            attempt.result.http = Some(HttpResponse {
                status,
                version: if response.version() == Version::HTTP_10 { 1.0 } else { 1.1 },
                redirects: redirects.into(),
            });
            attempt.note(|| format!("{url} answers {status}"));
            let location = location(response).filter(|_| !self.settings.status.contains(&status));
            let Some(location) = location.filter(|_| self.settings.redirects > 0) else {
                return self.check(attempt, &url, exchange).await;
            };
            if redirects == self.settings.redirects {
                let why = format!("there were more than {redirects} redirects");
                return Err(Fault::new(ProbeError::UnexpectedResponse, why));
            }
            let wrong = |why: &str| {
                let location = bounded(&location, LONGEST_NAME);
                Fault::new(ProbeError::UnexpectedResponse, format!("redirected to `{location}`: {why}"))
            };
            cookies.store(&url, response.headers(), SystemTime::now());
            url = url.join(&location).map_err(|why| wrong(&why))?;
            method = redirected(method, status);
            if !self.is_own_origin(&url) && !self.body(method).is_empty() {
                return Err(wrong("http.body is not sent to another scheme, host or port"));
            }
        }
        Ok(())
    }

    /// Whether a URL has the scheme, host and port of the target, so that it may receive the configured headers and
    /// body.
    fn is_own_origin(&self, url: &Url) -> bool {
        url.same_origin(&self.url)
    }

    /// The body of a request with this method.
    fn body(&self, method: Method) -> &str {
        match method {
            Method::Get | Method::Head | Method::Options => "",
            Method::Post | Method::Put => &self.settings.body,
        }
    }

    /// Connects and sends one request; the body of the response is not read yet.
    async fn exchange(
        &self,
        attempt: &mut Attempt<'_>,
        url: &Url,
        method: Method,
        cookies: &Cookies,
    ) -> Result<Exchange, Fault> {
        let host = url.host();
        let peer = attempt.resolve(host, url.port()).await?;
        attempt.begin(Phase::Connect);
        let (stream, took) = connect::tcp(attempt.origin(), peer).await?;
        attempt.end(Phase::Connect, took);
        let request = self.request(url, method, cookies)?;
        if url.scheme() == Scheme::Http {
            return send(attempt, stream, request, url).await;
        }
        let untold =
            || "TLS is not possible: the system has no certificate authorities; set tls.ca_file".to_owned();
        let tls =
            self.tls.as_ref().ok_or_else(untold).and_then(|tls| tls.for_host(host, self.is_own_origin(url)));
        let tls = tls.map_err(|why| Fault::new(ProbeError::Other, why))?;
        let (stream, _) = tls.handshake(attempt, stream).await?;
        send(attempt, stream, request, url).await
    }

    fn request(&self, url: &Url, method: Method, cookies: &Cookies) -> Result<Request<Full<Bytes>>, Fault> {
        let wrong = |error: hyper::http::Error| {
            Fault::new(ProbeError::Other, format!("the request for {url}: {error}"))
        };
        let body = Bytes::copy_from_slice(self.body(method).as_bytes());
        let method = match method {
            Method::Get => hyper::Method::GET,
            Method::Head => hyper::Method::HEAD,
            Method::Options => hyper::Method::OPTIONS,
            Method::Post => hyper::Method::POST,
            Method::Put => hyper::Method::PUT,
        };
        let length = body.len();
        let mut request = Request::builder()
            .method(method)
            .uri(url.path_and_query())
            .body(Full::new(body))
            .map_err(wrong)?;
        let headers = request.headers_mut();
        let authority = HeaderValue::from_str(&url.authority()).map_err(|error| wrong(error.into()))?;
        headers.insert(HOST, authority);
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("connscope/", env!("CARGO_PKG_VERSION"))));
        if length > 0 {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        // Any header may be a credential (`X-Api-Key`), so none is sent to another scheme, host or port that a redirect
        // leads to.
        let own = self.is_own_origin(url);
        for (name, value) in self.settings.headers.iter().filter(|_| own) {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(error.into()))?;
            headers.insert(name, HeaderValue::from_str(value).map_err(|error| wrong(error.into()))?);
        }
        if let Some(pairs) = cookies.header(url, headers.get(COOKIE).map(HeaderValue::as_bytes)) {
            headers.insert(COOKIE, HeaderValue::from_bytes(&pairs).map_err(|error| wrong(error.into()))?);
        }
        Ok(request)
    }

    /// Reads the body and checks the response.
    async fn check(&self, attempt: &mut Attempt<'_>, url: &Url, exchange: Exchange) -> Result<(), Fault> {
        let Exchange { response, beginning, task: _task } = exchange;
        let status = response.status().as_u16();
        let expected = if self.settings.status.is_empty() {
            (200..300).contains(&status)
        } else {
            self.settings.status.contains(&status)
        };
        let began = attempt.begin(Phase::Transfer);
        let mut body = response.into_body();
        let mut kept: Vec<u8> = Vec::new();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| fault("reading the body", &error, &beginning, url))?;
            let Some(data) = frame.data_ref() else { continue };
            length += data.len();
            let room = MATCHED.saturating_sub(kept.len());
            kept.extend_from_slice(data.get(..room.min(data.len())).unwrap_or(&[]));
            if length > READ {
                break;
            }
        }
        attempt.end(Phase::Transfer, began.elapsed());
        attempt.note(|| format!("{length} bytes of body"));
        if !expected {
            // The responses of nginx, Go and Apache to plain HTTP on a TLS port.
            let secure = status == 400 && url.scheme() == Scheme::Http && find(&kept, b"HTTPS").is_some();
            let hint = if secure { "; the peer expects TLS: write https:// instead of http://" } else { "" };
            return Err(Fault::new(ProbeError::UnexpectedResponse, format!("the status is {status}{hint}")));
        }
        match &self.expect {
            Some(expect) if !expect.is_met(&kept).await? => {
                Err(Fault::new(ProbeError::UnexpectedResponse, "the body is not as expected"))
            }
            _ => Ok(()),
        }
    }
}

/// A request and its response, whose body is not read yet.
struct Exchange {
    response: Response<Incoming>,
    beginning: FirstBytes,
    task: ConnectionTask,
}

/// Host in the configured header `Host`, without the port. The certificate must have this name, as in
/// `blackbox_exporter`.
fn configured_host(settings: &HttpSettings) -> Option<String> {
    let (_, value) = settings.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"))?;
    Url::parse(&format!("http://{value}/")).ok().map(|url| url.host().to_owned())
}

/// The target of a redirect. Bytes of `Location` that are not ASCII are percent-encoded, whatever their character set.
fn location(response: &Response<Incoming>) -> Option<String> {
    const NOTHING: &AsciiSet = &AsciiSet::EMPTY;
    let status = response.status().as_u16();
    let location = response.headers().get(LOCATION).filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308));
    let location = percent_encode(location?.as_bytes(), NOTHING).to_string();
    (!location.is_empty()).then_some(location)
}

/// The method of the request after a redirect (RFC 9110, section 15.4; Fetch, section 4.4): 307 and 308 keep it; 303,
/// and 301 and 302 after a POST, change it to GET. HEAD stays HEAD.
fn redirected(method: Method, status: u16) -> Method {
    match (status, method) {
        (_, Method::Get | Method::Head) | (307 | 308, _) => method,
        (303, _) | (_, Method::Post) => Method::Get,
        _ => method,
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    attempt: &mut Attempt<'_>,
    stream: S,
    request: Request<Full<Bytes>>,
    url: &Url,
) -> Result<Exchange, Fault> {
    let began: Instant = attempt.begin(Phase::Request);
    // Limits a peer that sends interim responses (`100 Continue`) without end.
    let (from, to) = tokio::io::split(stream);
    let (stream, beginning) = ResponseStream::new(tokio::io::join(from.take(RECEIVED), to));
    // As lenient as curl, Go and browsers; what hyper has no option for is normalized in the stream below it.
    let client = http1::Builder::new()
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .max_headers(HEADERS)
        .handshake(TokioIo::new(stream));
    let failed = |doing: &str, error: &hyper::Error| fault(doing, error, &beginning, url);
    let (mut sender, connection) = client.await.map_err(|error| failed("beginning HTTP", &error))?;
    let task = ConnectionTask(tokio::spawn(async move {
        // The error of a broken connection is returned to the sender of the request.
        let _reported = connection.await;
    }));
    let response =
        sender.send_request(request).await.map_err(|error| failed("waiting for the response", &error))?;
    attempt.end(Phase::Request, began.elapsed());
    Ok(Exchange { response, beginning, task })
}

/// The fault of a broken connection, or of a response that is not HTTP.
fn fault(doing: &str, error: &hyper::Error, beginning: &FirstBytes, url: &Url) -> Fault {
    let io = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let unexpected = |why: String| Fault::new(ProbeError::UnexpectedResponse, why);
    match io {
        // hyper reports invalid chunk lines with this kind; the stream below it never does.
        Some(io) if io.kind() == std::io::ErrorKind::InvalidInput => {
            unexpected(format!("{doing}: the response is not valid HTTP: {io}"))
        }
        Some(io) if io.kind() != std::io::ErrorKind::UnexpectedEof => Fault::io(doing, io),
        _ if error.is_parse() && beginning.protocol() == Some(Protocol::Http1) => {
            unexpected(format!("{doing}: the response is not valid HTTP: {error}"))
        }
        _ if error.is_parse() || beginning.bytes().is_empty() => {
            unexpected(format!("{doing}: {}", explain(beginning.bytes(), url)))
        }
        _ if io.is_some() || error.is_incomplete_message() || error.is_closed() || error.is_canceled() => {
            unexpected(format!(
                "{doing}: the response was incomplete when the connection ended, or had no end"
            ))
        }
        _ => Fault::new(ProbeError::Other, format!("{doing}: {error}")),
    }
}
