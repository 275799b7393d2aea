//! TLS: the handshake, the chain, and when its first certificate expires.

use crate::source::probes::attempt::Attempt;
use crate::source::probes::config::TargetTls as Settings;
use crate::source::probes::fault::Fault;
use crate::source::probes::labels::{Phase, ProbeError};
use client_certificate::ClientCertificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub mod client_certificate;
pub mod validity;

/// How long a peer is given to refuse a certificate: a round trip across the world and back.
const REJECTION: Duration = Duration::from_millis(500);

/// How TLS is spoken to a peer.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    /// `None`: the chain is not verified.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    name: ServerName<'static>,
    named: bool,
    /// Whether the certificate that is configured may be shown.
    shows: bool,
    demands_alpn: bool,
}

impl Tls {
    /// As configured, for a host; the files are read here. `alpn` is offered where the configuration offers nothing.
    pub fn new(settings: &Settings, host: &str, alpn: &[&str]) -> Result<Self, String> {
        let named = !settings.server_name.is_empty();
        let name = if named { &settings.server_name } else { host };
        let verifier = match (settings.verify, &settings.ca_file) {
            (false, _) => None,
            (true, None) => Some(system()?),
            (true, Some(file)) => Some(verifier(own(file)?)?),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("cannot speak TLS: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ChainVerifier::new(verifier.clone())));
        let mut config = match (&settings.cert_file, &settings.key_file) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| format!("has the key {}: {error}", key.display()))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("has the certificate {}: {error}", cert.display()))?
            }
            _ => builder.with_no_client_auth(),
        };
        // Every probe is to see the whole handshake.
        config.resumption = Resumption::disabled();
        let configured: Vec<&str> = settings.alpn.iter().map(String::as_str).collect();
        let offered = if configured.is_empty() { alpn } else { &configured };
        config.alpn_protocols = offered.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let demands_alpn = !configured.is_empty();
        Ok(Self {
            config: Arc::new(config),
            verifier,
            name: server_name(name)?,
            named,
            shows: true,
            demands_alpn,
        })
    }

    /// The same for another host: where a redirect leads. One that is not the target's `own` is not shown the certificate
    /// of the probe.
    pub fn for_host(&self, host: &str, own: bool) -> Result<Self, String> {
        let mut other = self.clone();
        other.shows &= own;
        if !self.named || !own {
            other.name = server_name(host)?;
        }
        Ok(other)
    }

    /// Shakes hands, and notes when the first certificate expires, also of a chain that is refused. Says whether the peer
    /// asked for a certificate of ours.
    pub async fn handshake(
        &self,
        attempt: &mut Attempt<'_>,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, bool), Fault> {
        let began = attempt.begin(Phase::Tls);
        let chain = Arc::new(ChainVerifier::new(self.verifier.clone()));
        let mut config = (*self.config).clone();
        let certificate = Arc::new(ClientCertificate::new(
            self.shows.then(|| Arc::clone(&config.client_auth_cert_resolver)),
        ));
        config.client_auth_cert_resolver = Arc::clone(&certificate) as Arc<dyn ResolvesClientCert>;
        config.dangerous().set_certificate_verifier(Arc::clone(&chain) as Arc<dyn ServerCertVerifier>);
        let ended = TlsConnector::from(Arc::new(config)).connect(self.name.clone(), stream).await;
        attempt.result.expiry = chain.expiry();
        let stream = ended.map_err(|error| {
            let fault = Fault::io("the TLS handshake", &error);
            // A peer that hangs up instead of answering does not speak TLS.
            match error.kind() {
                std::io::ErrorKind::UnexpectedEof => Fault::new(ProbeError::TlsHandshake, fault.why),
                _ => fault,
            }
        })?;
        attempt.end(Phase::Tls, began.elapsed());
        let (_, connection) = stream.get_ref();
        let (version, suite) = (connection.protocol_version(), connection.negotiated_cipher_suite());
        attempt.note(|| format!("{version:?}, {:?}", suite.map(|suite| suite.suite())));
        if self.demands_alpn && connection.alpn_protocol().is_none() {
            let why = "the peer chose none of the protocols that were offered (ALPN)";
            return Err(Fault::new(ProbeError::TlsHandshake, why));
        }
        Ok((stream, certificate.was_requested()))
    }
}

/// Waits for what a peer thinks of our certificate. In TLS 1.3 (RFC 8446, section 4.6.1) the handshake is over for this end
/// before the other has seen it: an alert comes if it is refused, and as a rule a ticket if it is taken. A peer that says
/// nothing for a while has nothing against it.
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
    answered
        .map_err(|error| Fault::new(ProbeError::TlsHandshake, format!("after the TLS handshake: {error}")))?;
    attempt.end(Phase::Tls, began.elapsed());
    Ok(())
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    let name = name.trim_matches(['[', ']']);
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("has `{name}`, for which there are no certificates"))
}

/// The authorities of the system; read once, and shared by all targets.
fn system() -> Result<Arc<WebPkiServerVerifier>, String> {
    static SYSTEM: OnceLock<Result<Arc<WebPkiServerVerifier>, String>> = OnceLock::new();
    SYSTEM
        .get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("speaks TLS, and the system has no authorities: set tls.ca_file".to_owned());
            }
            verifier(roots)
        })
        .clone()
}

fn own(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("has the authority {}: {error}", file.display()))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: String| format!("has the certificates {}: {why}", file.display());
    let read = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("there is none in the file".to_owned()));
    }
    Ok(certificates)
}

fn verifier(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| format!("has authorities that cannot be used: {error}"))
}

/// Verifies as configured, and remembers when the chain expires: rustls keeps a chain that it refuses to itself.
#[derive(Debug)]
struct ChainVerifier {
    verifier: Option<Arc<WebPkiServerVerifier>>,
    expiry: Mutex<Option<i64>>,
}

impl ChainVerifier {
    fn new(verifier: Option<Arc<WebPkiServerVerifier>>) -> Self {
        Self { verifier, expiry: Mutex::new(None) }
    }

    fn expiry(&self) -> Option<i64> {
        *self.expiry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a certificate expires, in seconds since 1970 (RFC 5280, section 4.1.2.5).
fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    validity::not_after(certificate)
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let first = std::iter::once(end_entity).chain(intermediates).filter_map(expiry).min();
        *self.expiry.lock().unwrap_or_else(PoisonError::into_inner) = first;
        match &self.verifier {
            Some(verifier) => {
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
