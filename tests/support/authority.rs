//! A certificate authority of a test's own, for receivers with TLS.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A certificate authority made for one test, with its files in a directory of the test.
pub(crate) struct Authority {
    directory: tempfile::TempDir,
    certificate: CertificateDer<'static>,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    /// Another one each time.
    pub(crate) fn new() -> Self {
        // Two of one name would be told apart by their signatures alone, and be refused with other words.
        static MADE: AtomicU64 = AtomicU64::new(0);
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let name = format!("authority {} of the tests", MADE.fetch_add(1, Ordering::Relaxed));
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("writing");
        let certificate = certificate.der().clone();
        Self { directory, certificate, issuer: rcgen::Issuer::new(parameters, key) }
    }

    /// Its certificate, PEM.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate signed by it and its key, PEM.
    pub(crate) fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        self.sign_until(name, 4096)
    }

    /// The same that expires at the beginning of a year.
    pub(crate) fn sign_until(&self, name: &str, year: i32) -> (PathBuf, PathBuf) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut parameters = rcgen::CertificateParams::new(names).expect("names");
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        let path = |end: &str| self.directory.path().join(format!("{name}.{end}"));
        std::fs::write(path("pem"), certificate.pem()).expect("writing");
        std::fs::write(path("key"), key.serialize_pem()).expect("writing");
        (path("pem"), path("key"))
    }

    /// TLS for a receiver whose certificate is signed by this authority; `clients` is the authority of the
    /// certificates that clients must show, if they must.
    pub(crate) fn server(&self, clients: Option<&Authority>) -> rustls::ServerConfig {
        let (certificate, key) = self.sign("server");
        let certificates = CertificateDer::pem_file_iter(certificate)
            .expect("a file")
            .collect::<Result<Vec<_>, _>>()
            .expect("PEM");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("TLS");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(clients.certificate.clone()).expect("an authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        builder.with_single_cert(certificates, key).expect("a certificate and its key")
    }
}
