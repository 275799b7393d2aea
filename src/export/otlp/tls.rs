//! TLS to the receiver: the certificates of `export.otlp.tls`, reloaded when their files change.

use crate::config::Tls as Settings;
use crate::tls::explain::explain;
use crate::tls::{self, Files, Pem, Renewal, Renewed, UnusableIdentity};
use rustls::ClientConfig;
use std::sync::Arc;

/// TLS configuration for the receiver, with the certificates as last loaded.
pub(super) struct Tls {
    protocol: &'static [u8],
    config: Renewed<ClientConfig>,
}

impl Tls {
    /// Loads the files. `protocol` is offered by ALPN. The error names the key and the file.
    pub(super) fn new(settings: &Settings, protocol: &'static [u8]) -> Result<Self, String> {
        let files = Files {
            authorities: settings.ca_file.clone(),
            certificate: settings.cert_file.clone(),
            key: settings.key_file.clone(),
        };
        Ok(Self { protocol, config: Renewed::new(files, |files| config(files, protocol))? })
    }

    /// The configuration with the certificates as last loaded.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.config.current()
    }

    /// Reloads the files if they have changed, including the system's CA certificates. Returns whether connections must
    /// be replaced. May block on the file system.
    pub(super) fn refresh(&self) -> bool {
        let files = self.config.files();
        let which = match files.authorities {
            Some(_) => "the certificates of export.otlp.tls",
            None => "the certificate authorities of the system, or the certificates of export.otlp.tls,",
        };
        match self.config.refresh(&files.stamps(), |files| config(files, self.protocol)) {
            Renewal::Unchanged => false,
            Renewal::Renewed => {
                tracing::info!("{which} have changed and were reloaded");
                true
            }
            Renewal::Refused(why) => {
                tracing::warn!(
                    "{which} have changed and cannot be used: {why}; the previous ones stay in use"
                );
                false
            }
        }
    }
}

fn config(files: &Files, protocol: &'static [u8]) -> Result<ClientConfig, String> {
    let in_key = |key: &'static str| move |error: String| format!("export.otlp.tls.{key}: {error}");
    let roots = match &files.authorities {
        Some(path) => tls::authorities(path).map_err(in_key("ca_file"))?,
        None => tls::system_authorities(),
    };
    if roots.is_empty() {
        return Err(
            "export.otlp: the endpoint is https, and the system has no certificate authorities: install \
                    them (ca-certificates), or set export.otlp.tls.ca_file"
                .to_owned(),
        );
    }
    let wrong = |error: rustls::Error| format!("export.otlp.tls: {}", explain(&error));
    let builder = tls::client().map_err(wrong)?.with_root_certificates(roots);
    let identity = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            let identity = tls::identity(Pem::File(certificate), Pem::File(key));
            let identity = identity.map_err(|unusable| match unusable {
                UnusableIdentity::Certificate(why) => in_key("cert_file")(why),
                UnusableIdentity::Key(why) => in_key("key_file")(why),
            })?;
            Some(identity)
        }
        _ => None,
    };
    tls::complete(builder, identity, &[protocol]).map_err(wrong)
}
