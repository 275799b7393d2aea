//! Certificates and keys of PEM files.

use crate::sys::read_regular;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// Most bytes of a file; the bundles of systems have some 300 KiB.
const MOST: u64 = 4 * 1024 * 1024;

/// The certificates of a file; the error completes a sentence about the target.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: String| format!("has the certificates {}: {why}", file.display());
    let text = read_regular(file, MOST).map_err(|error| wrong(error.to_string()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = read.map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("there is none in the file".to_owned()));
    }
    Ok(certificates)
}

/// The authorities of a file.
pub fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("has the authority {}: {error}", file.display()))?;
    }
    Ok(roots)
}

/// The private key of a file.
pub fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let wrong = |why: String| format!("has the key {}: {why}", file.display());
    let text = read_regular(file, MOST).map_err(|error| wrong(error.to_string()))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        // PKCS #8 says so in its label, older formats in a header of the PEM block (RFC 1421).
        let encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
        if encrypted.iter().any(|mark| text.windows(mark.len()).any(|part| part == mark.as_bytes())) {
            return wrong(
                "it is encrypted, and the agent has no passphrase: write it without one, `openssl pkey -in KEY -out NEW`"
                    .to_owned(),
            );
        }
        wrong(error.to_string())
    })
}
