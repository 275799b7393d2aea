//! The client certificate of a probe, and whether the peer requested it.

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Presents the configured certificate, and records that the peer requested one.
#[derive(Debug)]
pub struct ClientCertificate {
    configured: Option<Arc<dyn ResolvesClientCert>>,
    requested: AtomicBool,
}

impl ClientCertificate {
    /// The resolver of one handshake; it presents no certificate if none is `configured`.
    pub fn new(configured: Option<Arc<dyn ResolvesClientCert>>) -> Self {
        Self { configured, requested: AtomicBool::new(false) }
    }

    /// Whether the peer requested a client certificate.
    pub fn was_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.requested.store(true, Ordering::Relaxed);
        self.configured.as_ref()?.resolve(issuers, schemes)
    }

    fn has_certs(&self) -> bool {
        self.configured.as_ref().is_some_and(|configured| configured.has_certs())
    }
}
