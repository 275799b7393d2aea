//! Certificates and private keys of PEM files, and of PEM texts in a configuration.

#![expect(clippy::disallowed_methods, reason = "an expired certificate is refused")]

use super::validity::not_after;
use super::{explain, provider};
use crate::sys::read_regular;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys, RootCertStore};
use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most bytes of a PEM file; the bundles of systems have some 300 KiB.
pub(super) const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// A PEM text: a file, or a value of a configuration.
#[derive(Debug, Clone, Copy)]
pub enum Pem<'a> {
    /// In a file.
    File(&'a Path),
    /// In a configuration: the key, and its value.
    Inline(&'static str, &'a str),
}

impl Display for Pem<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => Display::fmt(&path.display(), formatter),
            Self::Inline(key, _) => formatter.write_str(key),
        }
    }
}

impl Pem<'_> {
    /// The text. Errors here and below begin with the path, or with the key.
    fn read(self) -> Result<Vec<u8>, String> {
        let text = match self {
            Self::File(path) => read_regular(path, MOST_BYTES).map_err(|error| unusable(self, &error))?,
            Self::Inline(_, text) => text.as_bytes().to_vec(),
        };
        if has(&text, b"-----BEGIN ") { Ok(text) } else { Err(unusable(self, &"not a PEM file")) }
    }
}

pub(super) fn unusable(of: Pem<'_>, why: &dyn Display) -> String {
    format!("{of}: {why}")
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|there| there == part)
}

/// The certificates, one at least.
pub fn certificates(of: Pem<'_>) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = of.read()?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let read = read.map_err(|error| unusable(of, &malformed(&error)))?;
    if read.is_empty() { Err(unusable(of, &"there is no certificate in it")) } else { Ok(read) }
}

/// The certificates of a file as authorities to trust.
pub fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(Pem::File(path))? {
        let added = roots.add(certificate);
        added.map_err(|error| {
            let why = explain::explain(&error);
            unusable(Pem::File(path), &format!("a certificate in it cannot be an authority: {why}"))
        })?;
    }
    Ok(roots)
}

/// The private key.
fn private_key(of: Pem<'_>) -> Result<PrivateKeyDer<'static>, String> {
    let text = of.read()?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        // PKCS #8 says so in its label, older formats in a header of the PEM block (RFC 1421).
        let encrypted: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
        if encrypted.iter().any(|mark| has(&text, mark)) {
            let why = "it is encrypted, and the agent has no passphrase: write it without one, `openssl pkey -in KEY -out NEW`";
            return unusable(of, &why);
        }
        match error {
            PemError::NoItemsFound => unusable(of, &"there is no private key in it"),
            error => unusable(of, &malformed(&error)),
        }
    })
}

/// What is wrong with a text that is nearly PEM (RFC 7468).
fn malformed(error: &PemError) -> String {
    let line = |bytes: &[u8]| crate::text::bounded_bytes(bytes, crate::text::LONGEST_NAME);
    match error {
        PemError::MissingSectionEnd { end_marker } => {
            format!("it is cut off: the line `-----END {}-----` is missing", line(end_marker))
        }
        PemError::IllegalSectionStart { line: start } => {
            format!("the line `{}` is not a beginning of PEM", line(start))
        }
        PemError::Base64Decode(why) => format!("what follows a BEGIN line is not base64: {why}"),
        error => error.to_string(),
    }
}

/// A certificate to show with those between it and its authority, and its key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Which part of an identity cannot be used, and why. The text begins with the path, or with the key.
#[derive(Debug, PartialEq, Eq)]
pub enum UnusableIdentity {
    /// The certificate.
    Certificate(String),
    /// The private key, or that it is another certificate's.
    Key(String),
}

impl UnusableIdentity {
    /// Why, without saying of which part.
    pub fn why(self) -> String {
        let (Self::Certificate(why) | Self::Key(why)) = self;
        why
    }
}

/// Reads a certificate and its key, and holds them against each other, so that a TLS library takes the two. Whom an expired
/// certificate is shown to refuses it, so that it is refused here.
pub fn identity(certificate: Pem<'_>, key: Pem<'_>) -> Result<Identity, UnusableIdentity> {
    let read = (
        certificates(certificate).map_err(UnusableIdentity::Certificate)?,
        private_key(key).map_err(UnusableIdentity::Key)?,
    );
    belongs(&read, certificate).map_err(|why| UnusableIdentity::Key(unusable(key, &why)))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ends = read.0.first().and_then(|certificate| not_after(certificate));
    let ends = ends.map(|ends| Duration::from_secs(ends.try_into().unwrap_or(0)));
    if let Some(ends) = ends.filter(|ends| *ends < now) {
        let ends = humantime::format_rfc3339_seconds(UNIX_EPOCH + ends);
        let why = format!("the certificate has expired at {ends}: renew it");
        return Err(UnusableIdentity::Certificate(unusable(certificate, &why)));
    }
    Ok(read)
}

/// Whether a key is that of the certificate that was read there.
fn belongs((chain, key): &Identity, certificate: Pem<'_>) -> Result<(), String> {
    match provider().key_provider.load_private_key(key.clone_key()) {
        Err(error) => Err(unsupported(key, &error)),
        Ok(signer) => match CertifiedKey::new(chain.clone(), signer).keys_match() {
            // A key that does not tell its public part cannot be compared.
            Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
            Err(TlsError::InconsistentKeys(_)) => {
                Err(format!("not the key of the certificate in {certificate}"))
            }
            Err(error) => Err(format!("cannot be compared with {certificate}: {}", explain::explain(&error))),
        },
    }
}

/// Why a private key cannot be used. The TLS library names neither the kind of the key nor those that it supports.
fn unsupported(key: &PrivateKeyDer<'_>, error: &TlsError) -> String {
    let kind = UNSUPPORTED_CURVES.iter().find(|(object, _)| has(key.secret_der(), object));
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

#[cfg(test)]
mod tests {
    use super::{Pem, belongs, private_key};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use std::path::Path;

    /// The error for a PKCS #8 key (RFC 5208) of the algorithm with this identifier; its private part is empty.
    fn refused(algorithm: &[u8]) -> String {
        let nested =
            |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
        let key = [&[2, 1, 0][..], &nested(0x30, algorithm), &nested(4, &[])].concat();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(nested(0x30, &key)));
        belongs(&(Vec::new(), key), Pem::File(Path::new("cert.pem"))).unwrap_err()
    }

    #[test]
    fn a_key_of_a_kind_that_is_not_supported_is_named_with_those_that_are() {
        let ecdsa = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        let said = refused(&[&ecdsa[..], &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]].concat());
        assert_eq!(
            said,
            "an ECDSA key of the curve P-521, which connscope does not support; use a key of P-256 or P-384, Ed25519, \
             or RSA with 2048 to 8192 bits"
        );
        let said = refused(&[0x06, 0x03, 0x2b, 0x65, 0x71]); // Ed448
        assert!(said.starts_with("not a key that TLS can use (") && said.contains("use a key of"), "{said}");
    }

    #[test]
    fn what_is_nearly_pem_is_said_without_the_words_of_a_parser() {
        let said = |text: &str| private_key(Pem::Inline("key", text)).unwrap_err();
        for (text, why) in [
            ("", "key: not a PEM file"),
            (
                "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
                "key: there is no private key in it",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\n",
                "key: it is cut off: the line `-----END PRIVATE KEY-----` is missing",
            ),
            ("-----BEGIN PRIVATE KEY\n", "key: the line `-----BEGIN PRIVATE KEY` is not a beginning of PEM"),
        ] {
            assert_eq!(said(text), why);
        }
        let said = said("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n");
        assert!(said.starts_with("key: what follows a BEGIN line is not base64: "), "{said}");
    }
}
