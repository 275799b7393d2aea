//! TLS to the receiver: the certificates of `export.otlp.tls`, read again when their files change.

use crate::config::Tls as Settings;
use crate::tls::{self, Files, Stamps};
use rustls::ClientConfig;
use std::sync::{Arc, Mutex, PoisonError};

/// How TLS is spoken to the receiver, with the certificates as they were last read.
pub(super) struct Tls {
    files: Files,
    protocol: &'static [u8],
    state: Mutex<State>,
}

struct State {
    config: Arc<ClientConfig>,
    read: Stamps,
    /// The files as they were when they could not be used, so that this is logged once.
    refused: Option<Stamps>,
}

impl Tls {
    /// Reads the files. `protocol` is what is offered by ALPN. The error names the key and the file.
    pub(super) fn new(settings: &Settings, protocol: &'static [u8]) -> Result<Self, String> {
        let files = Files {
            authorities: settings.ca_file.clone(),
            certificate: settings.cert_file.clone(),
            key: settings.key_file.clone(),
        };
        // Before they are read: what changes in between is read again.
        let read = files.stamps();
        let config = Arc::new(config(&files, protocol)?);
        Ok(Self { files, protocol, state: Mutex::new(State { config, read, refused: None }) })
    }

    /// TLS configuration with the certificates read last.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// Reads the files again if they have changed, those of the system's authorities too; whether connections are to be
    /// replaced. Files that cannot be used (a certificate is there and its key not yet) leave everything as it is, and are tried
    /// again when they change. May block for as long as a file system does.
    pub(super) fn refresh(&self) -> bool {
        let now = self.files.stamps();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now == state.read || state.refused.as_ref() == Some(&now) {
            return false;
        }
        let which = match self.files.authorities {
            Some(_) => "the certificates of export.otlp.tls",
            None => "the certificate authorities of the system, or the certificates of export.otlp.tls,",
        };
        match config(&self.files, self.protocol) {
            Ok(config) => {
                tracing::info!("{which} have changed and were read again");
                *state = State { config: Arc::new(config), read: now, refused: None };
                true
            }
            Err(why) => {
                tracing::warn!(
                    "{which} have changed and cannot be used: {why}; those that were read before stay in use"
                );
                state.refused = Some(now);
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
    let wrong = |error: rustls::Error| format!("export.otlp.tls: {error}");
    let builder = tls::client().map_err(wrong)?.with_root_certificates(roots);
    let identity = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => Some((
            tls::certificates(certificate).map_err(in_key("cert_file"))?,
            tls::private_key(key).map_err(in_key("key_file"))?,
        )),
        _ => None,
    };
    tls::complete(builder, identity, &[protocol])
        .map_err(|error| format!("export.otlp.tls: cert_file and key_file do not go together: {error}"))
}
