//! TLS to the receiver: the certificates of `export.otlp.tls`, read again when their files change.

use crate::config::Tls as Files;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, crypto};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Most bytes of a file with certificates; the bundles of systems have some 300 KiB.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

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

/// What tells that a file is another than before: device, inode, size and time of modification, `None` where there is no
/// such file.
type Stamp = Option<(u64, u64, u64, i64, i64)>;
type Stamps = [Stamp; 3];

fn stamps(files: &Files) -> Stamps {
    [&files.ca_file, &files.cert_file, &files.key_file].map(|path| {
        let metadata = std::fs::metadata(path.as_ref()?).ok()?;
        Some((metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
    })
}

impl Tls {
    /// Reads the files. `protocol` is what is offered by ALPN. The error names the key and the file.
    pub(super) fn new(files: &Files, protocol: &'static [u8]) -> Result<Self, String> {
        // Before they are read: what changes in between is read again.
        let read = stamps(files);
        let config = Arc::new(config(&Pem::read(files)?, protocol)?);
        Ok(Self { files: files.clone(), protocol, state: Mutex::new(State { config, read, refused: None }) })
    }

    /// How to speak it now.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// Reads the files again if they have changed; whether connections are to be made anew. Files that cannot be used (a
    /// certificate is there and its key not yet) leave everything as it is, and are tried again when they change.
    /// May block for as long as a file system does.
    pub(super) fn refresh(&self) -> bool {
        let now = stamps(&self.files);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now == state.read || Some(now) == state.refused {
            return false;
        }
        match Pem::read(&self.files).and_then(|pem| config(&pem, self.protocol)) {
            Ok(config) => {
                tracing::info!("the certificates of export.otlp.tls have changed and were read again");
                *state = State { config: Arc::new(config), read: now, refused: None };
                true
            }
            Err(why) => {
                tracing::warn!(
                    "the certificates of export.otlp.tls have changed and cannot be used: {why}; those that were read \
                     before stay in use"
                );
                state.refused = Some(now);
                false
            }
        }
    }
}

/// The contents of the files.
pub(super) struct Pem {
    authorities: Option<Vec<CertificateDer<'static>>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Pem {
    /// Reads the files that are configured; the error names the key and the file.
    pub(super) fn read(files: &Files) -> Result<Self, String> {
        let authorities = files.ca_file.as_deref().map(|path| certificates("ca_file", path)).transpose()?;
        let identity = match (&files.cert_file, &files.key_file) {
            (Some(certificate), Some(key)) => {
                Some((certificates("cert_file", certificate)?, private_key(key)?))
            }
            _ => None,
        };
        Ok(Self { authorities, identity })
    }
}

fn config(pem: &Pem, protocol: &'static [u8]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for authority in pem.authorities.iter().flatten() {
        roots
            .add(authority.clone())
            .map_err(|error| format!("export.otlp.tls.ca_file: holds no authority: {error}"))?;
    }
    if pem.authorities.is_none() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(
                "export.otlp: the endpoint is https, and the system has no certificate authorities: install \
                        them (ca-certificates), or set export.otlp.tls.ca_file"
                    .to_owned(),
            );
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("export.otlp.tls: {error}"))?
        .with_root_certificates(roots);
    let mut config = match &pem.identity {
        Some((chain, key)) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(|error| {
                format!("export.otlp.tls: cert_file and key_file do not go together: {error}")
            })?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

fn file(key: &str, path: &Path) -> Result<String, String> {
    crate::sys::read_limited(path, MOST_BYTES).map_err(|error| wrong(key, path, &error.to_string())).and_then(
        |text| {
            if text.contains("-----BEGIN ") { Ok(text) } else { Err(wrong(key, path, "not a PEM file")) }
        },
    )
}

fn wrong(key: &str, path: &Path, why: &str) -> String {
    format!("export.otlp.tls.{key}: {}: {why}", path.display())
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = file(key, path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let read = read.map_err(|error| wrong(key, path, &error.to_string()))?;
    if read.is_empty() { Err(wrong(key, path, "there is no certificate in it")) } else { Ok(read) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = file("key_file", path)?;
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(wrong("key_file", path, "the key is encrypted; the agent has no passphrase for it"));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|error| wrong("key_file", path, &error.to_string()))
}
