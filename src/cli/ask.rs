//! Asking a running agent over its HTTP endpoint. Bounded: one request, one time-out for all of it, a limit of bytes.

use super::CliError;
use crate::catalog::Config;
use crate::config::{Address, endpoint};
use crate::runtime;
use crate::sys::read_regular;
use crate::tls::{self, Pem, UnusableIdentity, explain};
use crate::url::host_port;
use crate::web::guard::config::WebConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, Error as TlsError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Maximum number of bytes of a response.
const MOST_BYTES: usize = 1024 * 1024;

/// Most bytes of a file with a password.
const LONGEST_PASSWORD: u64 = 4096;

/// Who asks: what is shown to the agent, and what its certificate is held against.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    /// Authorities of an https endpoint; those of the system where there is none.
    pub(super) authorities: Option<PathBuf>,
    /// The name that the certificate of the agent has to have; the host of the URL where there is none.
    pub(super) server_name: Option<String>,
    /// A certificate to show, and its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
    /// A user, and the file with the password.
    pub(super) user: Option<(String, PathBuf)>,
}

impl Credentials {
    /// Refuses what could not be shown, before anything is asked. The error names the flag and the file.
    fn check(&self) -> Result<(), CliError> {
        let wrong = |flag: &'static str| move |why: String| CliError::Usage(format!("{flag}: {why}"));
        if let Some(file) = &self.authorities {
            tls::authorities(file).map_err(wrong("--ca-file"))?;
        }
        if let Some(name) = &self.server_name {
            server(name).map_err(wrong("--server-name"))?;
        }
        if let Some((certificate, key)) = &self.identity {
            let read = tls::identity(Pem::File(certificate), Pem::File(key));
            read.map_err(|unusable| match unusable {
                UnusableIdentity::Certificate(why) => wrong("--cert-file")(why),
                UnusableIdentity::Key(why) => wrong("--key-file")(why),
            })?;
        }
        if let Some((_, file)) = &self.user {
            password(file).map_err(wrong("--password-file"))?;
        }
        Ok(())
    }
}

/// A running agent.
#[derive(Debug)]
pub(super) struct AgentClient {
    address: AgentAddress,
    secure: bool,
    credentials: Credentials,
    within: Duration,
}

/// One request.
struct Question<'a> {
    path: &'a str,
    authorization: Option<HeaderValue>,
    /// Maximum number of bytes of the body.
    most: usize,
}

/// Address at which the running agent listens.
#[derive(Debug)]
enum AgentAddress {
    Unix(PathBuf),
    Host { host: String, port: u16 },
}

impl AgentAddress {
    /// How to reach what listens at an address, from this machine; `None` where that is not known from here.
    fn of(address: &Address) -> Option<Self> {
        match address {
            Address::At { port: 0, .. } | Address::Systemd(_) => None,
            Address::Unix(path) => Some(Self::Unix(path.clone())),
            Address::At { host, port } => {
                let host = match host.as_str() {
                    "" | "0.0.0.0" => "127.0.0.1",
                    "::" => "::1",
                    host => host,
                };
                Some(Self::Host { host: host.to_owned(), port: *port })
            }
        }
    }

    /// What a `Host` header says of it, without the port.
    fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "localhost",
            Self::Host { host, .. } => host,
        }
    }
}

impl AgentClient {
    /// The agent at a URL (`http://HOST:PORT`, `https://HOST:PORT`, `unix:/PATH`, `https+unix:/PATH`, or `HOST:PORT`), asked within
    /// this time.
    pub(super) fn at(url: &str, credentials: Credentials, within: Duration) -> Result<Self, CliError> {
        credentials.check()?;
        let wrong = |why: &str| CliError::Usage(format!("`{}` {why}", endpoint::shown(url)));
        let over_tls = url.strip_prefix("https+").filter(|rest| rest.starts_with("unix:"));
        if let Some(path) = endpoint::unix_path(over_tls.unwrap_or(url)) {
            let address = AgentAddress::Unix(path.to_owned());
            return Ok(Self { address, secure: over_tls.is_some(), credentials, within });
        }
        let uri: Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
        let secure = match uri.scheme_str() {
            None | Some("http") => false,
            Some("https") => true,
            Some(_) => return Err(wrong("has another scheme than http, https, unix and https+unix")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("names no host"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("has a user name: use --user and --password-file"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("has a path; http://HOST:PORT is all of it"));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().or_else(|| uri.scheme_str().map(|_| if secure { 443 } else { 80 }));
        let address = AgentAddress::Host { host, port: port.ok_or_else(|| wrong("has no port"))? };
        Ok(Self { address, secure, credentials, within })
    }

    /// The agent that runs with this configuration, on this machine; over TLS where its web configuration has it.
    pub(super) fn of(config: &Config, credentials: Credentials, within: Duration) -> Result<Self, CliError> {
        credentials.check()?;
        let prometheus = &config.export.prometheus;
        let unknown = |why: &str| CliError::Usage(why.to_owned());
        if prometheus.listen.is_off() {
            return Err(unknown(
                "the endpoint is off in this configuration: set export.prometheus.listen, or name a URL",
            ));
        }
        let address = prometheus.listen.addresses().iter().find_map(AgentAddress::of).ok_or_else(|| {
            unknown("the kernel or the service manager chooses the address in this configuration: name a URL")
        })?;
        let secure = match &prometheus.web_config {
            None => false,
            Some(path) => {
                let (web, _) = WebConfig::read(path).map_err(|why| {
                    CliError::Usage(format!(
                        "whether the endpoint speaks TLS is in a file that cannot be used: {why}"
                    ))
                })?;
                web.tls_server_config.is_on()
            }
        };
        Ok(Self { address, secure, credentials, within })
    }

    /// Whether a user is shown.
    pub(super) fn has_user(&self) -> bool {
        self.credentials.user.is_some()
    }

    /// URL of the running agent's endpoint.
    pub(super) fn shown(&self) -> String {
        match &self.address {
            AgentAddress::Unix(path) => {
                let scheme = if self.secure { "https+unix" } else { "unix" };
                format!("{scheme}:{}", path.display())
            }
            AgentAddress::Host { .. } => {
                let scheme = if self.secure { "https" } else { "http" };
                format!("{scheme}://{}", self.named())
            }
        }
    }

    /// The value of `Host`.
    fn named(&self) -> String {
        match &self.address {
            AgentAddress::Unix(_) => self.address.host().to_owned(),
            AgentAddress::Host { host, port } => host_port(host, *port),
        }
    }

    /// Whether this configuration says where the endpoint listens.
    pub(super) fn has_address(config: &Config) -> bool {
        let listen = &config.export.prometheus.listen;
        !listen.is_off() && listen.addresses().iter().any(|address| AgentAddress::of(address).is_some())
    }

    /// Whether no program listens at the address; `false` where that is not known.
    pub(super) fn is_absent(&self) -> bool {
        let connected = self.within(async {
            Ok(match &self.address {
                AgentAddress::Unix(socket) => UnixStream::connect(socket).await.map(drop),
                AgentAddress::Host { host, port } => {
                    TcpStream::connect((host.as_str(), *port)).await.map(drop)
                }
            })
        });
        let nobody = |kind| matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::NotFound);
        connected.is_ok_and(|connected| connected.is_err_and(|error| nobody(error.kind())))
    }

    /// Status and body of `GET path`. The error is a sentence without the URL.
    pub(super) fn get(&self, path: &str) -> Result<(u16, String), String> {
        self.get_up_to(path, MOST_BYTES)
    }

    /// The same, of a body of this many bytes at most.
    pub(super) fn get_up_to(&self, path: &str, most: usize) -> Result<(u16, String), String> {
        let authorization = self.credentials.user.as_ref().map(basic).transpose()?;
        self.within(self.ask(&Question { path, authorization, most }))
    }

    /// Drives what asks, for the time that there is.
    fn within<T>(&self, asking: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let runtime = runtime::of_one_thread("resolve", 1).map_err(|error| error.to_string())?;
        let answer = runtime.block_on(async { tokio::time::timeout(self.within, asking).await });
        // A name lookup may continue; nothing waits for it.
        runtime.shutdown_background();
        answer
            .unwrap_or_else(|_| Err(format!("no answer within {}", humantime::format_duration(self.within))))
    }

    async fn ask(&self, question: &Question<'_>) -> Result<(u16, String), String> {
        match &self.address {
            AgentAddress::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
                self.ask_over(stream, question).await
            }
            AgentAddress::Host { host, port } => {
                let stream =
                    TcpStream::connect((host.as_str(), *port)).await.map_err(|error| error.to_string())?;
                self.ask_over(stream, question).await
            }
        }
    }

    async fn ask_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        question: &Question<'_>,
    ) -> Result<(u16, String), String> {
        let mut request = Request::get(question.path)
            .header(HOST, self.named())
            .header(USER_AGENT, concat!("connscope/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        if let Some(authorization) = &question.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        if !self.secure {
            return exchange(stream, request, question.most).await;
        }
        let answer = exchange(self.secured(stream).await?, request, question.most).await;
        answer.map_err(|why| match &self.credentials.identity {
            // A server looks at the certificate of a client after the handshake (TLS 1.3), and may be gone before its alert is read.
            None => format!("{why}; if it requires a certificate of clients, use --cert-file and --key-file"),
            Some(_) => why,
        })
    }

    async fn secured<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<tokio_rustls::client::TlsStream<S>, String> {
        let Credentials { authorities, server_name, identity, .. } = &self.credentials;
        let roots = authorities.as_deref().map_or_else(|| Ok(tls::system_authorities()), tls::authorities)?;
        let identity = identity.as_ref().map(|(certificate, key)| {
            tls::identity(Pem::File(certificate), Pem::File(key)).map_err(UnusableIdentity::why)
        });
        let failed = |error: TlsError| explain::explain(&error);
        let builder = tls::client().map_err(failed)?.with_root_certificates(roots);
        let config = tls::complete(builder, identity.transpose()?, &[b"http/1.1"]).map_err(failed)?;
        let name = server_name.as_deref().unwrap_or_else(|| self.address.host());
        let connected =
            tokio_rustls::TlsConnector::from(Arc::new(config)).connect(server(name)?, stream).await;
        connected.map_err(|error| format!("TLS: {}", explained(&error)))
    }
}

/// The name that a certificate must have.
fn server(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| format!("`{name}` cannot be the name in a certificate"))
}

/// `Authorization` of the scheme Basic (RFC 7617). The password is the first line of its file.
fn basic((user, file): &(String, PathBuf)) -> Result<HeaderValue, String> {
    let password = password(file)?;
    let encoded = STANDARD.encode([user.as_bytes(), b":", &password].concat());
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).map_err(|error| error.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

fn password(file: &Path) -> Result<Vec<u8>, String> {
    let unusable = |why: &str| format!("{}: {why}", file.display());
    let bytes = read_regular(file, LONGEST_PASSWORD).map_err(|error| unusable(&error.to_string()))?;
    let line = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    if line.is_empty() { Err(unusable("its first line is empty")) } else { Ok(line.to_vec()) }
}

/// Why a handshake failed; says which option has what is missing.
fn explained(error: &std::io::Error) -> String {
    let Some(tls) = explain::of_io(error) else { return error.to_string() };
    let why = explain::explain(tls);
    match tls {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            format!("{why}; name its authority with --ca-file")
        }
        TlsError::InvalidCertificate(CertificateError::NotValidForNameContext { .. }) => {
            format!("{why}; name the one it has with --server-name")
        }
        _ => why,
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Empty<Bytes>>,
    most: usize,
) -> Result<(u16, String), String> {
    let no_http = |error: hyper::Error| {
        let cause =
            std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
        match cause.filter(|cause| explain::of_io(cause).is_some()) {
            Some(cause) => format!("TLS: {}", explained(cause)),
            None if error.is_parse() => {
                format!(
                    "it does not answer with HTTP ({error}); if it speaks TLS, write https:// or https+unix:"
                )
            }
            None => format!("it does not answer with HTTP: {error}"),
        }
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(no_http)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), most).collect().await;
    driver.abort();
    let body = body.map_err(|error| format!("reading the answer: {error}"))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
