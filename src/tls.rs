//! TLS, as the exporter and the probes share it: the cryptography library, certificates and keys of PEM files, the
//! authorities of the system, and whether any of these is another than before.

use crate::sys::FileStamp;
pub use pem::{Identity, Pem, UnusableIdentity, authorities, certificates, identity};
pub use renewed::{Renewal, Renewed, refused};
use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, ConfigBuilder, Error as TlsError, WantsVerifier};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
pub use system::authorities as system_authorities;

pub mod explain;
mod pem;
mod renewed;
mod system;
pub mod validity;

/// The cryptography library; there is one for the process.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

/// The beginning of a client's configuration: TLS 1.2 and 1.3 with the cipher suites of rustls.
pub fn client() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()
}

/// The files by which TLS is spoken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Files {
    /// Authorities to trust; those of the system where there is none.
    pub authorities: Option<PathBuf>,
    /// The certificate to show, and those between it and its authority.
    pub certificate: Option<PathBuf>,
    /// File of the private key of the certificate.
    pub key: Option<PathBuf>,
}

/// What tells files from those that were there before; `None` where there is no such file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamps(Vec<Option<FileStamp>>);

impl Files {
    /// The files as they are now. Waits as long as a file system does.
    pub fn stamps(&self) -> Stamps {
        let trusted = self.authorities.clone().map_or_else(system::paths, |path| vec![path]);
        let own = [&self.certificate, &self.key].into_iter().flatten().cloned();
        Stamps(trusted.into_iter().chain(own).map(|path| FileStamp::at(&path)).collect())
    }
}

/// The rest of a client's configuration: what it shows, and the protocols that it offers (ALPN).
pub fn complete(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<Identity>,
    protocols: &[&[u8]],
) -> Result<ClientConfig, TlsError> {
    let mut config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}
