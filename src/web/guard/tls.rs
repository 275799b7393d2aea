//! `tls_server_config`: the certificate of the endpoint, and the verification of client certificates.

use super::config::TlsServer;
use crate::tls::explain::explain;
use crate::tls::{self, Pem};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use rustls::{CipherSuite, NamedGroup, SupportedProtocolVersion};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use webpki::EndEntityCert;

/// Go's names of cipher suites, and rustls' suites; `None` if rustls does not have the suite.
const SUITES: &[(&str, Option<CipherSuite>)] = &[
    ("TLS_AES_128_GCM_SHA256", Some(CipherSuite::TLS13_AES_128_GCM_SHA256)),
    ("TLS_AES_256_GCM_SHA384", Some(CipherSuite::TLS13_AES_256_GCM_SHA384)),
    ("TLS_CHACHA20_POLY1305_SHA256", Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256)),
    (AES_ECDSA, Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)),
    (AES_RSA, Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", None),
];
const AES_ECDSA: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
const AES_RSA: &str = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";

const CURVES: &[(&str, Option<NamedGroup>)] = &[
    ("CurveP256", Some(NamedGroup::secp256r1)),
    ("CurveP384", Some(NamedGroup::secp384r1)),
    ("CurveP521", None),
    ("X25519", Some(NamedGroup::X25519)),
];

const VERSIONS: [&str; 4] = ["TLS10", "TLS11", "TLS12", "TLS13"];

/// The TLS acceptor, if the section enables TLS. The error names the path or the key.
pub fn acceptor(section: &TlsServer, http2: bool) -> Result<Option<TlsAcceptor>, String> {
    if !section.is_on() {
        return Ok(None);
    }
    let provider = Arc::new(provider(section, http2)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(section)?)
        .map_err(|error| wrong(&explain(&error)))?;
    let (certificates, key) = identity(section)?;
    let builder = match verifier(section, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| wrong(&explain(&error)))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn wrong(why: &str) -> String {
    format!("tls_server_config: {why}")
}

/// The values of a list of names; the error gives the first unknown name.
fn named<T: Copy>(names: &[String], known: &[(&str, Option<T>)], what: &str) -> Result<Vec<T>, String> {
    let mut found = Vec::new();
    for name in names {
        let entry = known.iter().find(|(known, _)| known == name);
        let (_, value) = entry.ok_or_else(|| wrong(&format!("`{name}` is not a {what}")))?;
        found.extend(*value);
    }
    if found.is_empty() && !names.is_empty() {
        return Err(wrong(&format!("connscope's TLS library supports none of these {what}s")));
    }
    Ok(found)
}

fn provider(section: &TlsServer, http2: bool) -> Result<CryptoProvider, String> {
    let mut provider = CryptoProvider::clone(&tls::provider());
    let suites = named(&section.cipher_suites, SUITES, "cipher suite")?;
    if !suites.is_empty() {
        let has = |name: &str| section.cipher_suites.iter().any(|suite| suite == name);
        if http2 && section.min_version.as_deref() != Some("TLS13") && !has(AES_ECDSA) && !has(AES_RSA) {
            return Err(wrong(&format!(
                "cipher_suites lacks {AES_RSA}, which HTTP/2 needs: add it, or set http2: false"
            )));
        }
        provider.cipher_suites.retain(|suite| suites.contains(&suite.suite()));
    }
    let curves = named(&section.curve_preferences, CURVES, "curve")?;
    if !curves.is_empty() {
        let group = |curve: &NamedGroup| -> Option<&'static dyn SupportedKxGroup> {
            provider.kx_groups.iter().copied().find(|group| group.name() == *curve)
        };
        provider.kx_groups = curves.iter().filter_map(group).collect();
    }
    Ok(provider)
}

fn versions(section: &TlsServer) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let index = |version: &Option<String>, default: usize| match version.as_deref() {
        None => Ok(default),
        Some(name) => {
            let index = VERSIONS.iter().position(|known| *known == name);
            index.ok_or_else(|| wrong(&format!("`{name}` is not a version: {}", VERSIONS.join(", "))))
        }
    };
    let range = index(&section.min_version, 2)?..=index(&section.max_version, 3)?;
    let ours = [(2, &rustls::version::TLS12), (3, &rustls::version::TLS13)];
    let versions: Vec<_> =
        ours.into_iter().filter(|(index, _)| range.contains(index)).map(|(_, version)| version).collect();
    if versions.is_empty() {
        return Err(wrong(
            "no version is left between min_version and max_version; connscope speaks TLS 1.2 and 1.3",
        ));
    }
    Ok(versions)
}

/// PEM of a file, or of the configuration itself, where either is named.
fn pem<'a>(file: &'a Path, key: &'static str, text: &'a str) -> Option<Pem<'a>> {
    match (file.as_os_str().is_empty(), text.is_empty()) {
        (false, _) => Some(Pem::File(file)),
        (true, false) => Some(Pem::Inline(key, text)),
        (true, true) => None,
    }
}

fn identity(section: &TlsServer) -> Result<tls::Identity, String> {
    let certificate = pem(&section.cert_file, "cert", &section.cert)
        .ok_or_else(|| wrong("one of cert and cert_file is missing"))?;
    let key = pem(&section.key_file, "key", &section.key)
        .ok_or_else(|| wrong("one of key and key_file is missing"))?;
    tls::identity(certificate, key).map_err(|unusable| wrong(&unusable.why()))
}

/// The certificates of the client CA.
fn trusted(section: &TlsServer) -> Result<Vec<CertificateDer<'static>>, String> {
    let named = pem(&section.client_ca_file, "client_ca", &section.client_ca);
    named.map_or_else(|| Ok(Vec::new()), |of| tls::certificates(of).map_err(|why| wrong(&why)))
}

fn verifier(
    section: &TlsServer,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let trusted = trusted(section)?;
    let (verified, required) = match section.client_auth_type.as_str() {
        "" | "NoClientCert" if !trusted.is_empty() => {
            return Err(wrong("client authorities are set, and client_auth_type is not"));
        }
        "" | "NoClientCert" if section.client_allowed_sans.is_some() => {
            return Err(wrong(
                "client_allowed_sans is set, and client_auth_type asks for no certificate: nobody would be held to it",
            ));
        }
        "" | "NoClientCert" => return Ok(None),
        "RequestClientCert" => (false, false),
        "RequireAnyClientCert" | "RequireClientCert" => (false, true),
        "VerifyClientCertIfGiven" => (true, false),
        "RequireAndVerifyClientCert" => (true, true),
        other => return Err(wrong(&format!("`{other}` is not a client_auth_type"))),
    };
    let inner = if verified {
        let mut roots = if trusted.is_empty() { tls::system_authorities() } else { RootCertStore::empty() };
        for certificate in &trusted {
            roots
                .add(certificate.clone())
                .map_err(|error| wrong(&format!("the authorities of clients: {}", explain(&error))))?;
        }
        if roots.is_empty() {
            return Err(wrong("there is no authority to verify clients by: set client_ca_file"));
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = if required { builder } else { builder.allow_unauthenticated() };
        Some(builder.build().map_err(|error| wrong(&error.to_string()))?)
    } else {
        None
    };
    let sans = section.client_allowed_sans.clone();
    // A client without a certificate has none of the names.
    let required = required || sans.is_some();
    Ok(Some(Arc::new(Clients { inner, trusted, required, sans, provider: Arc::clone(provider) })))
}

/// Verifier of client certificates.
#[derive(Debug)]
struct Clients {
    /// Verifier against the client CA; `None` if any certificate is accepted.
    inner: Option<Arc<dyn ClientCertVerifier>>,
    /// Certificates accepted as they are: a client may have a self-signed certificate, which rustls regards as a CA.
    trusted: Vec<CertificateDer<'static>>,
    required: bool,
    /// Accepted subject alternative names; the certificate must have one of them, so one is required. `None` accepts any.
    sans: Option<Vec<String>>,
    provider: Arc<CryptoProvider>,
}

impl Clients {
    fn is_allowed(&self, certificate: &CertificateDer<'_>) -> bool {
        let Some(sans) = &self.sans else { return true };
        let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
        sans.iter().any(|allowed| {
            let address = allowed.parse::<std::net::IpAddr>().ok().map(ServerName::from);
            certificate.valid_dns_names().chain(certificate.valid_uri_names()).any(|name| name == allowed)
                || address
                    .is_some_and(|address| certificate.verify_is_valid_for_subject_name(&address).is_ok())
        })
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.as_ref().map_or(&[], |inner| inner.root_hint_subjects())
    }

    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let known =
            self.inner.is_some() && self.trusted.iter().any(|one| one.as_ref() == end_entity.as_ref());
        let ended =
            || tls::validity::not_after(end_entity).is_some_and(|ends| ends < now.as_secs().cast_signed());
        if known && ended() {
            return Err(CertificateError::Expired.into());
        }
        if let Some(inner) = self.inner.as_ref().filter(|_| !known) {
            inner.verify_client_cert(end_entity, intermediates, now)?;
        }
        if self.is_allowed(end_entity) {
            return Ok(ClientCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
