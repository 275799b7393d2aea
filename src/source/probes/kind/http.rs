//! HTTP/1.1: a request over a connection of its own, its redirects, status and body.

use super::expectation::Expectation;
use super::tls::Tls;
use crate::source::probes::attempt::Attempt;
use crate::source::probes::config::{Http as Asked, Method, Target as Settings, TargetTls};
use crate::source::probes::connect;
use crate::source::probes::fault::Fault;
use crate::source::probes::labels::{Phase, ProbeError};
use crate::url::{Scheme, Url};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::task::JoinHandle;

/// How much of a body is looked at.
const LOOKED_AT: usize = 64 * 1024;

/// How much of a body is read; what is larger is a download and not a probe.
const READ: usize = 1024 * 1024;

/// How much of a connection is listened to, heads included; from there on it reads as ended.
const HEARD: u64 = 2 * 1024 * 1024;

/// A request.
#[derive(Debug)]
pub struct Http {
    url: Url,
    asked: Asked,
    expect: Option<Expectation>,
    tls: Option<Tls>,
}

/// The task that moves the bytes of one connection; it ends with the probe.
struct ConnectionTask(JoinHandle<()>);

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Http {
    /// As configured.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let url = Url::parse(&settings.url).map_err(|why| format!("has a url that {why}"))?;
        if let Some(other) = settings.tls.alpn.iter().find(|offered| *offered != "http/1.1") {
            return Err(format!("offers {other} in tls.alpn; HTTP/1.1 is spoken"));
        }
        // A redirect may lead from http to https.
        let may_speak_tls = url.scheme() == Scheme::Https || settings.http.redirects > 0;
        let tls = may_speak_tls.then(|| Tls::new(&settings.tls, url.host(), &["http/1.1"]));
        let tls = match tls.transpose() {
            Ok(tls) => tls,
            // Without authorities plain HTTP works all the same, where nobody said anything of TLS.
            Err(_) if url.scheme() == Scheme::Http && settings.tls == TargetTls::default() => None,
            Err(why) => return Err(why),
        };
        let expect = Expectation::new(settings.http.expect_body.as_ref(), None)?;
        Ok(Self { url, asked: settings.http.clone(), expect, tls })
    }

    /// Asks, and follows where it is sent.
    pub async fn run(&self, attempt: &mut Attempt<'_>) -> Result<(), Fault> {
        let mut url = self.url.clone();
        let mut method = self.asked.method;
        for left in (0..=self.asked.redirects).rev() {
            let (answer, connection_task) = self.ask(attempt, &url, method).await?;
            let status = answer.status().as_u16();
            attempt.result.status = Some(status);
            attempt.note(|| format!("{url} answers {status}"));
            let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()?.parse().ok());
            let to: Option<String> = to.filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308));
            match to {
                Some(to) if !self.asked.status.contains(&status) && self.asked.redirects > 0 => {
                    if left == 0 {
                        let why = format!("there were more than {} redirects", self.asked.redirects);
                        return Err(Fault::new(ProbeError::UnexpectedResponse, why));
                    }
                    let wrong = |why: &str| {
                        Fault::new(ProbeError::UnexpectedResponse, format!("redirected to `{to}`: {why}"))
                    };
                    url = url.join(&to).map_err(|why| wrong(&why))?;
                    if status == 303 || (status != 307 && status != 308 && method == Method::Post) {
                        method = Method::Get;
                    }
                    if !self.own(&url) && !self.body(method).is_empty() {
                        return Err(wrong("http.body goes to no other scheme, host or port"));
                    }
                    drop(connection_task);
                }
                _ => return self.judge(attempt, answer).await,
            }
        }
        Ok(())
    }

    /// Whether it is of the scheme, host and port that were configured, and may see what was configured for these.
    fn own(&self, url: &Url) -> bool {
        url.same_origin(&self.url)
    }

    /// What a request of this method carries.
    fn body(&self, method: Method) -> &str {
        match method {
            Method::Get | Method::Head | Method::Options => "",
            Method::Post | Method::Put => &self.asked.body,
        }
    }

    /// Connects and asks; the answer's body is still to come.
    async fn ask(
        &self,
        attempt: &mut Attempt<'_>,
        url: &Url,
        method: Method,
    ) -> Result<(Response<Incoming>, ConnectionTask), Fault> {
        let host = url.host();
        let peer = attempt.resolve(host, url.port()).await?;
        attempt.begin(Phase::Connect);
        let (stream, took) = connect::tcp(attempt.origin(), peer).await?;
        attempt.end(Phase::Connect, took);
        let request = self.request(url, method)?;
        if url.scheme() == Scheme::Http {
            return send(attempt, stream, request).await;
        }
        let untold = || "TLS cannot be spoken: the system has no authorities, set tls.ca_file".to_owned();
        let tls = self.tls.as_ref().ok_or_else(untold).and_then(|tls| tls.for_host(host, self.own(url)));
        let tls = tls.map_err(|why| Fault::new(ProbeError::Other, why))?;
        let (stream, _) = tls.handshake(attempt, stream).await?;
        send(attempt, stream, request).await
    }

    fn request(&self, url: &Url, method: Method) -> Result<Request<Full<Bytes>>, Fault> {
        let wrong =
            |error: hyper::http::Error| Fault::new(ProbeError::Other, format!("asking {url}: {error}"));
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
        // Which of them are credentials nobody knows (`X-Api-Key`), so that none goes on to where the peer sends its visitors:
        // another scheme, host or port.
        let own = self.own(url);
        for (name, value) in self.asked.headers.iter().filter(|_| own) {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(error.into()))?;
            headers.insert(name, HeaderValue::from_str(value).map_err(|error| wrong(error.into()))?);
        }
        Ok(request)
    }

    async fn judge(&self, attempt: &mut Attempt<'_>, answer: Response<Incoming>) -> Result<(), Fault> {
        let status = answer.status().as_u16();
        let fine = if self.asked.status.is_empty() {
            (200..300).contains(&status)
        } else {
            self.asked.status.contains(&status)
        };
        let began = attempt.begin(Phase::Transfer);
        let mut body = answer.into_body();
        let mut kept: Vec<u8> = Vec::new();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken("reading the body", &error))?;
            let Some(data) = frame.data_ref() else { continue };
            length += data.len();
            let room = LOOKED_AT.saturating_sub(kept.len());
            kept.extend_from_slice(data.get(..room.min(data.len())).unwrap_or(&[]));
            if length > READ {
                break;
            }
        }
        attempt.end(Phase::Transfer, began.elapsed());
        attempt.note(|| format!("{length} bytes of body"));
        if !fine {
            return Err(Fault::new(ProbeError::UnexpectedResponse, format!("the status is {status}")));
        }
        match &self.expect {
            Some(expect) if !expect.is_met(&kept).await? => {
                Err(Fault::new(ProbeError::UnexpectedResponse, "the body is not what was expected"))
            }
            _ => Ok(()),
        }
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    attempt: &mut Attempt<'_>,
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, ConnectionTask), Fault> {
    let began: Instant = attempt.begin(Phase::Request);
    // A peer that answers without an end (`100 Continue` over and over) is not listened to for ever.
    let (from, to) = tokio::io::split(stream);
    let stream = tokio::io::join(from.take(HEARD), to);
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| broken("beginning HTTP", &error))?;
    let connection_task = ConnectionTask(tokio::spawn(async move {
        // What breaks it is told to whoever asked.
        let _told = connection.await;
    }));
    let answer = sender.send_request(request).await.map_err(|error| broken("asking", &error))?;
    attempt.end(Phase::Request, began.elapsed());
    Ok((answer, connection_task))
}

/// A broken connection, or an answer that is no HTTP.
fn broken(doing: &str, error: &hyper::Error) -> Fault {
    let io = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    match io {
        Some(io) if io.kind() != std::io::ErrorKind::UnexpectedEof => Fault::io(doing, io),
        _ if error.is_parse() => {
            Fault::new(ProbeError::UnexpectedResponse, format!("{doing}: no HTTP came back: {error}"))
        }
        _ if io.is_some() || error.is_incomplete_message() || error.is_closed() || error.is_canceled() => {
            Fault::new(
                ProbeError::UnexpectedResponse,
                format!("{doing}: the peer ended before its answer, or went on and on"),
            )
        }
        _ => Fault::new(ProbeError::Other, format!("{doing}: {error}")),
    }
}
