//! Asking a running agent over its HTTP endpoint. Bounded: one request, one time-out for all of it, a limit of bytes.

use super::CliError;
use crate::config::{Config, Listen, endpoint};
use crate::runtime;
use crate::tls;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Most bytes of an answer.
const MOST_BYTES: usize = 1024 * 1024;

/// A running agent.
#[derive(Debug)]
pub(super) struct Running {
    place: AgentAddress,
    authorities: Option<PathBuf>,
    within: Duration,
}

/// Address at which the running agent listens.
#[derive(Debug)]
enum AgentAddress {
    Unix(PathBuf),
    Host { host: String, port: u16, secure: bool },
}

impl Running {
    /// The agent at a URL (`http://HOST:PORT`, `https://HOST:PORT`, `unix:/PATH`, or `HOST:PORT`), asked within this time.
    pub(super) fn at(url: &str, authorities: Option<PathBuf>, within: Duration) -> Result<Self, CliError> {
        let wrong = |why: &str| CliError::Usage(format!("`{}` {why}", endpoint::shown(url)));
        let place = if let Some(path) = endpoint::unix_path(url) {
            AgentAddress::Unix(path.to_owned())
        } else {
            let uri: Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
            let secure = match uri.scheme_str() {
                None | Some("http") => false,
                Some("https") => true,
                Some(_) => return Err(wrong("has another scheme than http, https and unix")),
            };
            let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("names no host"))?;
            if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
                return Err(wrong("has a user name; this command sends no user and no password"));
            }
            if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
                return Err(wrong("has a path; http://HOST:PORT is all of it"));
            }
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let port = uri.port_u16().or_else(|| uri.scheme_str().map(|_| if secure { 443 } else { 80 }));
            AgentAddress::Host { host, port: port.ok_or_else(|| wrong("has no port"))?, secure }
        };
        Ok(Self { place, authorities, within })
    }

    /// The agent that runs with this configuration, on this machine.
    pub(super) fn of(
        config: &Config,
        authorities: Option<PathBuf>,
        within: Duration,
    ) -> Result<Self, CliError> {
        let place = match &config.export.prometheus.listen {
            Listen::Off => {
                return Err(CliError::Usage(
                    "the endpoint is off in this configuration: set export.prometheus.listen, or name a URL"
                        .to_owned(),
                ));
            }
            Listen::At { port: 0, .. } => {
                return Err(CliError::Usage(
                    "the kernel chooses the port in this configuration: name a URL".to_owned(),
                ));
            }
            Listen::At { host, port } => {
                let host = match host.as_str() {
                    "" | "0.0.0.0" => "127.0.0.1",
                    "::" => "::1",
                    host => host,
                };
                AgentAddress::Host { host: host.to_owned(), port: *port, secure: false }
            }
        };
        Ok(Self { place, authorities, within })
    }

    /// URL of the running agent's endpoint.
    pub(super) fn shown(&self) -> String {
        match &self.place {
            AgentAddress::Unix(path) => format!("unix:{}", path.display()),
            AgentAddress::Host { host, port, secure } => {
                let scheme = if *secure { "https" } else { "http" };
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                format!("{scheme}://{host}:{port}")
            }
        }
    }

    /// Status and body of `GET path`. The error is a sentence without the URL.
    pub(super) fn get(&self, path: &str) -> Result<(u16, String), String> {
        let runtime = runtime::of_one_thread("resolve", 1).map_err(|error| error.to_string())?;
        let answer = runtime.block_on(async { tokio::time::timeout(self.within, self.ask(path)).await });
        // A look-up of a name may go on; nobody waits for it.
        runtime.shutdown_background();
        answer
            .unwrap_or_else(|_| Err(format!("no answer within {}", humantime::format_duration(self.within))))
    }

    async fn ask(&self, path: &str) -> Result<(u16, String), String> {
        match &self.place {
            AgentAddress::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
                exchange(stream, "localhost", path).await
            }
            AgentAddress::Host { host, port, secure } => {
                let stream =
                    TcpStream::connect((host.as_str(), *port)).await.map_err(|error| error.to_string())?;
                let named = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let named = format!("{named}:{port}");
                if *secure {
                    exchange(self.secured(host, stream).await?, &named, path).await
                } else {
                    exchange(stream, &named, path).await
                }
            }
        }
    }

    async fn secured(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, String> {
        let roots = self.authorities.as_deref().map_or_else(|| Ok(tls::system_authorities()), authorities)?;
        let builder = tls::client().map_err(|error| error.to_string())?.with_root_certificates(roots);
        let config = tls::complete(builder, None, &[b"http/1.1"]).map_err(|error| error.to_string())?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("`{host}` cannot be the name in a certificate"))?;
        let connected = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        connected.map_err(|error| format!("TLS: {error}"))
    }
}

fn authorities(path: &Path) -> Result<rustls::RootCertStore, String> {
    tls::authorities(path)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    host: &str,
    path: &str,
) -> Result<(u16, String), String> {
    let no_http = |error: hyper::Error| format!("it does not answer with HTTP: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("connscope/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(no_http)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
    driver.abort();
    let body = body.map_err(|error| format!("reading the answer: {error}"))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
