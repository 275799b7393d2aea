//! The certificate chain of a peer: verification and expiry.

use crate::source::probes::result::Expiry;
use crate::tls::validity::not_after;
use crate::tls::{Files, Stamps, provider, system_authorities};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};

/// Signature schemes offered if nothing is verified: those of every key that a peer may have, including P-521, Ed448
/// and SHA-1, which the cryptography library cannot verify.
const ANY_SCHEME: [SignatureScheme; 13] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::ED448,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::ECDSA_SHA1_Legacy,
    SignatureScheme::RSA_PKCS1_SHA1,
];

/// Certificate authorities that are trusted.
#[derive(Debug)]
pub struct Authorities {
    roots: Arc<RootCertStore>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Authorities {
    /// Creates a verifier with these roots; the error completes a sentence about the target.
    pub fn new(roots: RootCertStore) -> Result<Self, String> {
        let roots = Arc::new(roots);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .build()
            .map_err(|error| format!("has authorities that cannot be used: {error}"))?;
        Ok(Self { roots, verifier })
    }

    /// The system's CAs, shared by all targets, and reloaded when their files change.
    pub fn of_system() -> Result<Arc<Self>, String> {
        type Read = (Stamps, Result<Arc<Authorities>, String>);
        static SYSTEM: Mutex<Option<Read>> = Mutex::new(None);
        let now = Files::default().stamps();
        let mut system = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, read)) = system.as_ref().filter(|(stamps, _)| *stamps == now) {
            return read.clone();
        }
        let roots = system_authorities();
        let read = if roots.is_empty() {
            Err("uses TLS, and the system has no certificate authorities: set tls.ca_file".to_owned())
        } else {
            Self::new(roots).map(Arc::new)
        };
        *system = Some((now, read.clone()));
        read
    }

    /// Expiry of the first certificate in the chain that leads to a CA, ignoring other certificates that the peer sent,
    /// such as an expired cross-certificate. The expiry of the CA itself is ignored, as verifiers do.
    fn chain_expiry(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<i64> {
        let certificate = webpki::EndEntityCert::try_from(end_entity).ok()?;
        let algorithms = provider().signature_verification_algorithms.all;
        let usage = webpki::KeyUsage::server_auth();
        let path = certificate
            .verify_for_usage(algorithms, &self.roots.roots, intermediates, now, usage, None, None)
            .ok()?;
        let others = path.intermediate_certificates().map(|certificate| not_after(&certificate.der()));
        std::iter::once(not_after(end_entity)).chain(others).flatten().min()
    }
}

/// Verifies the chain of a handshake, if configured, and records its expiry: rustls does not report a chain that it
/// rejects.
#[derive(Debug)]
pub struct ChainVerifier {
    /// The trusted CAs. `None`: nothing is verified, neither chain, name, dates nor the handshake signature, and the
    /// certificate is not parsed, which would reject X.509 v1, short keys and unknown critical extensions.
    authorities: Option<Arc<Authorities>>,
    expiry: Mutex<Expiry>,
}

impl ChainVerifier {
    /// Verifies with these CAs, or not at all.
    pub fn new(authorities: Option<Arc<Authorities>>) -> Self {
        Self { authorities, expiry: Mutex::default() }
    }

    /// Expiry of the chain, once the peer has sent it.
    pub fn expiry(&self) -> Expiry {
        *self.expiry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_expiry(&self, expiry: Expiry) {
        *self.expiry.lock().unwrap_or_else(PoisonError::into_inner) = expiry;
    }
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
        let sent = std::iter::once(end_entity)
            .chain(intermediates)
            .filter_map(|certificate| not_after(certificate))
            .min();
        self.set_expiry(Expiry { sent, verified: None });
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        let verified = authorities.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        self.set_expiry(Expiry { sent, verified: authorities.chain_expiry(end_entity, intermediates, now) });
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        if self.authorities.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        if self.authorities.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self.authorities {
            None => ANY_SCHEME.to_vec(),
            Some(_) => provider().signature_verification_algorithms.supported_schemes(),
        }
    }
}
