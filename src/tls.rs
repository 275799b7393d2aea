//! TLS, as the exporter and the probes share it: the cryptography library, certificates and keys of PEM files, the
//! authorities of the system, and whether any of these is another than before.

use crate::sys::{FileStamp, read_regular};
pub use renewed::{Renewal, Renewed, refused};
use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ConfigBuilder, Error as TlsError, InconsistentKeys, RootCertStore, WantsVerifier,
};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
pub use system::authorities as system_authorities;

pub mod explain;
mod renewed;
mod system;
pub mod validity;

/// Most bytes of a PEM file; the bundles of systems have some 300 KiB.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// The cryptography library; there is one for the process.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

/// The beginning of a client's configuration: TLS 1.2 and 1.3 with the cipher suites of rustls.
pub fn client() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()
}

/// The bytes of a PEM file. Errors here and below begin with the path.
fn pem(path: &Path) -> Result<Vec<u8>, String> {
    let text = read_regular(path, MOST_BYTES).map_err(|error| unusable(path, &error))?;
    if has(&text, "-----BEGIN ") { Ok(text) } else { Err(unusable(path, &"not a PEM file")) }
}

fn unusable(path: &Path, why: &dyn Display) -> String {
    format!("{}: {why}", path.display())
}

fn has(text: &[u8], words: &str) -> bool {
    has_bytes(text, words.as_bytes())
}

fn has_bytes(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|there| there == part)
}

/// The certificates of a PEM file, one at least.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = pem(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let read = read.map_err(|error| unusable(path, &error))?;
    if read.is_empty() { Err(unusable(path, &"there is no certificate in it")) } else { Ok(read) }
}

/// The certificates of a PEM file as authorities to trust.
pub fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| {
            unusable(path, &format!("a certificate in it cannot be an authority: {error}"))
        })?;
    }
    Ok(roots)
}

/// The private key of a PEM file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = pem(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        // PKCS #8 says so in its label, older formats in a header of the PEM block (RFC 1421).
        let encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
        if encrypted.iter().any(|mark| has(&text, mark)) {
            let why = "it is encrypted, and the agent has no passphrase: write it without one, `openssl pkey -in KEY -out NEW`";
            return unusable(path, &why);
        }
        unusable(path, &error)
    })
}

/// Whether a key is the one of a certificate, so that a TLS library takes the two. The error begins with the path of the key.
pub fn belongs((chain, key): &Identity, certificate: &Path, key_path: &Path) -> Result<(), String> {
    let why = match provider().key_provider.load_private_key(key.clone_key()) {
        Err(error) => unsupported(key, &error),
        Ok(signer) => match CertifiedKey::new(chain.clone(), signer).keys_match() {
            // A key that does not tell its public part cannot be compared.
            Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => return Ok(()),
            Err(TlsError::InconsistentKeys(_)) => {
                format!("not the key of the certificate in {}", certificate.display())
            }
            Err(error) => format!("the certificate in {} cannot be parsed: {error}", certificate.display()),
        },
    };
    Err(unusable(key_path, &why))
}

/// Why a private key cannot be used. The TLS library names neither the kind of the key nor those that it supports.
fn unsupported(key: &PrivateKeyDer<'_>, error: &TlsError) -> String {
    let kind = UNSUPPORTED_CURVES.iter().find(|(object, _)| has_bytes(key.secret_der(), object));
    match kind {
        Some((_, curve)) => {
            format!("an ECDSA key of the curve {curve}, which connscope does not support; {SUPPORTED}")
        }
        None => format!("not a key that TLS can use ({error}); {SUPPORTED}"),
    }
}

/// Kinds of keys that the TLS library supports.
const SUPPORTED: &str = "use a key of P-256 or P-384, Ed25519, or RSA with 2048 to 8192 bits";

/// Object identifiers of curves as DER has them (SEC 2, RFC 5639), and their names.
const UNSUPPORTED_CURVES: [(&[u8], &str); 5] = [
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23], "P-521"),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21], "P-224"),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a], "secp256k1"),
    (&[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07], "brainpoolP256r1"),
    (&[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0b], "brainpoolP384r1"),
];

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

/// A certificate to show, and its key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

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

#[cfg(test)]
mod tests {
    use super::belongs;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use std::path::Path;

    /// The error for a PKCS #8 key (RFC 5208) of the algorithm with this identifier; its private part is empty.
    fn refused(algorithm: &[u8]) -> String {
        let nested =
            |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
        let key = [&[2, 1, 0][..], &nested(0x30, algorithm), &nested(4, &[])].concat();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(nested(0x30, &key)));
        belongs(&(Vec::new(), key), Path::new("cert.pem"), Path::new("key.pem")).unwrap_err()
    }

    #[test]
    fn a_key_of_a_kind_that_is_not_supported_is_named_with_those_that_are() {
        let ecdsa = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        let said = refused(&[&ecdsa[..], &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]].concat());
        assert_eq!(
            said,
            "key.pem: an ECDSA key of the curve P-521, which connscope does not support; use a key of P-256 or P-384, Ed25519, \
             or RSA with 2048 to 8192 bits"
        );
        let said = refused(&[0x06, 0x03, 0x2b, 0x65, 0x71]); // Ed448
        assert!(
            said.starts_with("key.pem: not a key that TLS can use (") && said.contains("use a key of"),
            "{said}"
        );
    }
}
