//! TLS client of the probes: handshake, certificate chain, and client certificate.

use crate::source::probes::attempt::Attempt;
use crate::source::probes::config::TargetTls as Settings;
use crate::source::probes::fault::Fault;
use crate::source::probes::labels::{Phase, ProbeError};
use crate::source::probes::result::TlsSession;
use crate::tls::{self, Files, Pem, Renewal, Renewed, Stamps, UnusableIdentity, explain};
use crate::url::ascii_host;
use chain::{Authorities, ChainVerifier};
use client_certificate::ClientCertificate;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub mod chain;
pub mod client_certificate;

/// Time in which a peer may reject the client certificate: twice the round trip around the world.
const REJECTION: Duration = Duration::from_millis(500);

/// A TLS client for one peer, with the certificates as last loaded.
#[derive(Debug, Clone)]
pub struct Tls {
    options: Arc<TlsOptions>,
    name: ServerName<'static>,
    named: bool,
    /// Whether the configured client certificate may be sent.
    shows: bool,
    demands_alpn: bool,
}

#[derive(Debug)]
struct TlsOptions {
    verify: bool,
    /// Protocols that are offered (ALPN).
    offered: Vec<String>,
    loaded: Renewed<LoadedTls>,
}

/// Authorities and client certificate, as loaded from their files.
#[derive(Debug)]
struct LoadedTls {
    config: Arc<ClientConfig>,
    /// The trusted CAs; `None` if nothing is verified.
    authorities: Option<Arc<Authorities>>,
}

impl LoadedTls {
    fn of(files: &Files, verify: bool, offered: &[String]) -> Result<Self, String> {
        let certificates = |error| format!("has the certificates {error}");
        let authorities = match (verify, &files.authorities) {
            (false, _) => None,
            (true, None) => Some(Authorities::of_system()?),
            (true, Some(file)) => {
                Some(Arc::new(Authorities::new(tls::authorities(file).map_err(certificates)?)?))
            }
        };
        let builder = tls::client()
            .map_err(|error| format!("cannot set up TLS: {}", explain::explain(&error)))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ChainVerifier::new(authorities.clone())));
        let identity = match (&files.certificate, &files.key) {
            (Some(cert), Some(key)) => {
                let identity = tls::identity(Pem::File(cert), Pem::File(key));
                let identity = identity.map_err(|unusable| match unusable {
                    UnusableIdentity::Certificate(why) => certificates(why),
                    UnusableIdentity::Key(why) => format!("has the key {why}"),
                })?;
                Some(identity)
            }
            _ => None,
        };
        let offered: Vec<&[u8]> = offered.iter().map(String::as_bytes).collect();
        let mut config = tls::complete(builder, identity, &offered)
            .map_err(|error| format!("cannot set up TLS: {}", explain::explain(&error)))?;
        // Every probe measures a full handshake.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), authorities })
    }
}

impl Tls {
    /// Creates the client for a host, and loads the files. `alpn` is offered if the configuration has no protocols.
    pub fn new(settings: &Settings, host: &str, alpn: &[&str]) -> Result<Self, String> {
        let named = !settings.server_name.is_empty();
        let name = if named { &settings.server_name } else { host };
        let demands_alpn = !settings.alpn.is_empty();
        let offered =
            if demands_alpn { settings.alpn.clone() } else { alpn.iter().map(ToString::to_string).collect() };
        let verify = settings.verify;
        let files = Files {
            authorities: settings.ca_file.clone(),
            certificate: settings.cert_file.clone(),
            key: settings.key_file.clone(),
        };
        let loaded = Renewed::new(files, |files| LoadedTls::of(files, verify, &offered))?;
        let options = Arc::new(TlsOptions { verify, offered, loaded });
        Ok(Self { options, name: server_name(name)?, named, shows: true, demands_alpn })
    }

    /// The files that were loaded.
    pub fn files(&self) -> &Files {
        self.options.loaded.files()
    }

    /// Reloads the files if they have changed since the last load; `now` are their present stamps. May block on the
    /// file system.
    pub fn refresh(&self, now: &Stamps) -> Renewal {
        let TlsOptions { verify, offered, loaded } = &*self.options;
        loaded.refresh(now, |files| LoadedTls::of(files, *verify, offered))
    }

    /// The client for another host, after a redirect. Unless it is the target's `own`, the client certificate is not
    /// sent.
    pub fn for_host(&self, host: &str, own: bool) -> Result<Self, String> {
        let mut other = self.clone();
        other.shows &= own;
        if !self.named || !own {
            other.name = server_name(host)?;
        }
        Ok(other)
    }

    /// Does the handshake, and records the expiry of the chain, also if it is rejected. Returns whether the peer
    /// requested a client certificate.
    pub async fn handshake(
        &self,
        attempt: &mut Attempt<'_>,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, bool), Fault> {
        let began = attempt.begin(Phase::Tls);
        let doing = match stream.peer_addr() {
            Ok(peer) => format!("the TLS handshake with {peer}"),
            Err(_) => "the TLS handshake".to_owned(),
        };
        let loaded = self.options.loaded.current();
        let chain = Arc::new(ChainVerifier::new(loaded.authorities.clone()));
        let mut config = (*loaded.config).clone();
        let configured = self.shows.then(|| Arc::clone(&config.client_auth_cert_resolver));
        let certificate = Arc::new(ClientCertificate::new(configured));
        config.client_auth_cert_resolver = Arc::clone(&certificate) as Arc<dyn ResolvesClientCert>;
        config.dangerous().set_certificate_verifier(Arc::clone(&chain) as Arc<dyn ServerCertVerifier>);
        let ended = TlsConnector::from(Arc::new(config)).connect(self.name.clone(), stream).await;
        let expiry = chain.expiry();
        attempt.result.tls = Some(TlsSession { version: None, expiry });
        let stream = ended.map_err(|error| {
            let fault = Fault::io(&doing, &error);
            // A peer that closes the connection instead of answering does not speak TLS.
            match error.kind() {
                std::io::ErrorKind::UnexpectedEof => Fault::new(
                    ProbeError::TlsHandshake,
                    format!("{doing}: the peer closed the connection: it may not speak TLS on this port"),
                ),
                _ => fault,
            }
        })?;
        attempt.end(Phase::Tls, began.elapsed());
        let (_, connection) = stream.get_ref();
        let (version, suite) = (connection.protocol_version(), connection.negotiated_cipher_suite());
        attempt.result.tls = Some(TlsSession { version: version.and_then(version_name), expiry });
        attempt.note(|| format!("{version:?}, {:?}", suite.map(|suite| suite.suite())));
        if self.demands_alpn && connection.alpn_protocol().is_none() {
            let why = "the peer chose none of the protocols that were offered (ALPN)";
            return Err(Fault::new(ProbeError::TlsHandshake, why));
        }
        Ok((stream, certificate.was_requested()))
    }
}

/// Waits for a rejection of the client certificate. In TLS 1.3 (RFC 8446, section 4.6.1) this end completes the
/// handshake before the peer has verified the certificate: an alert follows if it is rejected, and usually a ticket if
/// it is accepted. Silence counts as accepted.
pub async fn wait_for_rejection(
    attempt: &mut Attempt<'_>,
    stream: &mut TlsStream<TcpStream>,
) -> Result<(), Fault> {
    let began = attempt.begin(Phase::Tls);
    let mut byte = [0];
    let answered = std::future::poll_fn(|context| {
        let mut buffer = ReadBuf::new(&mut byte);
        match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
            Poll::Pending if stream.get_ref().1.tls13_tickets_received() > 0 => Poll::Ready(Ok(())),
            other => other,
        }
    });
    let answered = tokio::time::timeout(REJECTION, answered).await.unwrap_or(Ok(()));
    answered.map_err(|error| {
        let why = explain::of_io(&error).map_or_else(|| error.to_string(), explain::explain);
        Fault::new(ProbeError::TlsHandshake, format!("after the TLS handshake: {why}"))
    })?;
    attempt.end(Phase::Tls, began.elapsed());
    Ok(())
}

/// The name of a version, as in `blackbox_exporter`.
fn version_name(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLS 1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLS 1.3"),
        _ => None,
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    let name = name.trim_matches(['[', ']']);
    // The zone of an address is local to this machine.
    let name = name.split('%').next().unwrap_or(name);
    // Certificates have DNS names without the final dot.
    let plain = name.strip_suffix('.').unwrap_or(name);
    let ascii = if plain.is_ascii() { Ok(plain.to_owned()) } else { ascii_host(plain) };
    let named = ascii.ok().and_then(|name| ServerName::try_from(name).ok());
    named.ok_or_else(|| format!("has `{name}`, for which there are no certificates"))
}
