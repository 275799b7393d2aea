//! The certificate that a probe shows, and whether the peer asked for one.

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shows what is configured, where it may, and notes that it was asked.
#[derive(Debug)]
pub struct Shown {
    configured: Option<Arc<dyn ResolvesClientCert>>,
    asked: AtomicBool,
}

impl Shown {
    /// For one handshake; nothing is shown where there is nothing `configured`.
    pub fn new(configured: Option<Arc<dyn ResolvesClientCert>>) -> Self {
        Self { configured, asked: AtomicBool::new(false) }
    }

    /// Whether the peer asked for a certificate.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.configured.as_ref()?.resolve(issuers, schemes)
    }

    fn has_certs(&self) -> bool {
        self.configured.as_ref().is_some_and(|configured| configured.has_certs())
    }
}
