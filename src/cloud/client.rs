//! Asks a metadata service over HTTP/1.1: a connection for each request, to the address itself and never through a proxy.
//! Redirects are not followed, and an answer is at most 64 KiB.

use super::instance::Instance;
use super::plan::{self, Plan, Token};
use super::provider::Provider;
use super::timeouts;
use crate::reading::SourceError;
use crate::runtime;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Most bytes of an answer.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Address of a metadata service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    /// As it is written in the header `Host`.
    authority: String,
    /// What is before each path, without a slash at its end.
    prefix: String,
}

impl Endpoint {
    /// Reads `http://HOST[:PORT][/PREFIX]`. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
        if uri.scheme_str() != Some("http") {
            return Err("does not begin with http://, which metadata services speak");
        }
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err("has a user or a query; http://HOST:PORT is all of it");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("names no host");
        }
        let port = match authority.as_str().strip_prefix(authority.host()).unwrap_or_default() {
            "" => Some(80),
            rest => rest.strip_prefix(':').and_then(|port| port.parse().ok()).filter(|port| *port > 0),
        };
        Ok(Self {
            host,
            port: port.ok_or("has a port that is none from 1 to 65535")?,
            authority: authority.as_str().to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Every address of the host.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        match tokio::net::lookup_host((self.host.as_str(), self.port)).await {
            Ok(addresses) => Ok(addresses.collect()),
            Err(error) => Err(Failure::Unreachable(format!("{}: {error}", self.host))),
        }
    }
}

/// Why a metadata service could not be asked, or its answer not be used.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The endpoint is none, or has no address; no thread or socket could be had.
    #[error("{0}")]
    Unreachable(String),
    /// No answer to this path in time.
    #[error("{path}: no answer within {after:?}{hint}", hint = hint(.path))]
    Timeout {
        /// Path of the request.
        path: String,
        /// Time limit.
        after: Duration,
    },
    /// The connection failed or ended, or what came over it is not HTTP.
    #[error("{path}: {why}")]
    Broken {
        /// Path of the request.
        path: String,
        /// Cause of the failure.
        why: String,
    },
    /// Another status than 200. A redirect is one too.
    #[error("{path}: the status is {status}")]
    Status {
        /// Path of the request.
        path: String,
        /// HTTP status.
        status: u16,
    },
    /// The answer is not what is documented.
    #[error("{path}: the answer is not what was expected: {start:?}")]
    NotUnderstood {
        /// Path of the request.
        path: String,
        /// The beginning of the answer.
        start: String,
    },
    /// No path has a value: whoever answers is no metadata service, or another provider's.
    #[error("no value is there; the first that was asked for is {path}")]
    Nothing {
        /// Path of the first request.
        path: &'static str,
    },
}

/// What to do where the token of AWS does not come: its packets have a hop limit.
fn hint(path: &str) -> &'static str {
    if path.contains("/api/token") {
        "; in a container that is not in the host's network, set the instance's metadata hop limit to 2"
    } else {
        ""
    }
}

impl Failure {
    /// The error that is reported.
    pub fn into_source(self, provider: Provider) -> SourceError {
        let doing = format!("asking for the metadata of {}", provider.names().word);
        match self {
            Self::NotUnderstood { .. } => SourceError::parse(doing, self),
            _ => SourceError::io(doing, self),
        }
    }
}

/// Asks everything within a time, and keeps what is answered in `found`. The first failure is returned. One that is about a
/// single request (a status, an answer that is not understood) does not end the rest; a 404 or an empty answer says that there is
/// no such value, and is none.
pub fn ask(
    plan: &Plan,
    endpoint: Option<&str>,
    within: Duration,
    found: &mut Instance,
) -> Result<(), Failure> {
    let unreachable = |why: String| Failure::Unreachable(why);
    let endpoint = Endpoint::parse(endpoint.unwrap_or(plan.endpoint));
    let endpoint = endpoint.map_err(|why| unreachable(format!("resource.cloud.endpoint {why}")))?;
    let runtime = runtime::of_one_thread("cloud", 1).map_err(|error| unreachable(error.to_string()))?;
    let asked = runtime.block_on(async {
        let whole = async {
            let addresses = endpoint.addresses().await?;
            Service { endpoint, addresses, plan }.ask(found).await
        };
        let whole = timeout(within, whole).await;
        whole.unwrap_or_else(|_| Err(Failure::Timeout { path: "all together".to_owned(), after: within }))
    });
    // A name lookup may continue; nothing waits for it.
    runtime.shutdown_background();
    asked
}

struct Service<'a> {
    endpoint: Endpoint,
    addresses: Vec<SocketAddr>,
    plan: &'a Plan,
}

impl Service<'_> {
    async fn ask(&self, found: &mut Instance) -> Result<(), Failure> {
        let mut headers = Vec::from_iter(self.plan.header.map(|(name, value)| (name, value.to_owned())));
        if let Some(token) = &self.plan.token {
            match self.token(token).await {
                Ok(value) => headers.push((token.header, value)),
                Err(failure) if token.required => return Err(failure),
                Err(_) => {}
            }
        }
        let mut first = Ok(());
        let mut answered = false;
        for (path, rows) in self.plan.requests() {
            let failure = match self.request(Method::GET, path, &headers).await {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) if plan::take(rows, &text, found) => {
                    answered = true;
                    continue;
                }
                Ok(text) => {
                    let start = crate::text::bounded(&text, 40);
                    Failure::NotUnderstood { path: path.to_owned(), start }
                }
                Err(Failure::Status { status: 404, .. }) => continue,
                Err(failure @ Failure::Status { .. }) => failure,
                // The others would take as long.
                Err(failure) => return first.and(Err(failure)),
            };
            first = first.and(Err(failure));
        }
        let path = self.plan.rows.first().map_or("", |row| row.path);
        if answered { first } else { first.and(Err(Failure::Nothing { path })) }
    }

    async fn token(&self, token: &Token) -> Result<String, Failure> {
        let (name, seconds) = token.validity;
        let text = self.request(Method::PUT, token.path, &[(name, seconds.to_owned())]).await?;
        super::instance::value(&text).ok_or_else(|| Failure::NotUnderstood {
            path: token.path.to_owned(),
            start: crate::text::bounded(&text, 40),
        })
    }

    /// One request; the text of an answer with status 200.
    async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
    ) -> Result<String, Failure> {
        let exchange = timeout(timeouts::REQUEST, self.exchange(method, path, headers)).await;
        let late = |_| Failure::Timeout { path: path.to_owned(), after: timeouts::REQUEST };
        let (status, body) = exchange
            .map_err(late)?
            .map_err(|why| Failure::Broken { path: path.to_owned(), why: why.to_string() })?;
        if status != StatusCode::OK {
            return Err(Failure::Status { path: path.to_owned(), status: status.as_u16() });
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
    ) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(&*self.addresses).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.endpoint.prefix))
            .body(Empty::<Bytes>::new())?;
        let all = request.headers_mut();
        all.insert(HOST, HeaderValue::from_str(&self.endpoint.authority)?);
        all.insert(USER_AGENT, HeaderValue::from_static(concat!("connscope/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in headers {
            all.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        }
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            // Only what is to be read is waited for.
            if status != StatusCode::OK {
                return Ok((status, Bytes::new()));
            }
            let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await?;
            Ok((status, body.to_bytes()))
        };
        // The connection is driven here, and ends with the answer.
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            _ended = connection => answer.await,
        }
    }
}
