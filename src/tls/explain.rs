//! Errors of the TLS library in words that say what is wrong with which end (pure).
//!
//! rustls names its cases by the identifiers of its source (`CaUsedAsEndEntity`). Each is kept in brackets, to search for.

use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The error of TLS in an error of a stream, if it is one.
pub fn of_io(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// What is wrong, seen from a client. Names no key of a configuration; whoever has one adds what to set.
pub fn explain(error: &TlsError) -> String {
    if let Some(limit) = limit(error) {
        return limit.to_owned();
    }
    let text = match error {
        TlsError::InvalidCertificate(wrong) => return of_certificate(wrong),
        TlsError::NoCertificatesPresented => "the peer shows no certificate",
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the peer does not speak TLS on this port (InvalidContentType)"
        }
        TlsError::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the peer supports neither TLS 1.2 nor TLS 1.3, and connscope nothing older"
        }
        TlsError::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the peer supports none of the offered protocols (ALPN)"
        }
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            "the peer requires a client certificate (CertificateRequired)"
        }
        TlsError::AlertReceived(alert) if refuses_client(error) => {
            return format!(
                "the peer does not accept the client certificate, or that there is none ({alert:?})"
            );
        }
        TlsError::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the peer has no certificate for the server name it was asked for (UnrecognizedName)"
        }
        TlsError::AlertReceived(alert) => {
            return format!("the peer ended TLS with an alert ({alert:?}): its log may say why");
        }
        TlsError::PeerIncompatible(why) => {
            return format!("the peer has no version or method of TLS in common with connscope ({why:?})");
        }
        TlsError::InappropriateMessage { .. }
        | TlsError::InappropriateHandshakeMessage { .. }
        | TlsError::InvalidMessage(_)
        | TlsError::DecryptError
        | TlsError::PeerMisbehaved(_)
        | TlsError::PeerSentOversizedRecord => {
            return format!(
                "the peer does not keep to the protocol of TLS: is something between that changes what is sent? ({error})"
            );
        }
        _ => return format!("TLS failed: {error}"),
    };
    text.to_owned()
}

/// What is wrong with a certificate of the peer.
fn of_certificate(wrong: &CertificateError) -> String {
    let since = |time: u64| humantime::format_rfc3339_seconds(instant(time)).to_string();
    match wrong {
        CertificateError::UnknownIssuer => {
            "the certificate is signed by no authority that is trusted (UnknownIssuer)".to_owned()
        }
        CertificateError::BadSignature => {
            "the certificate has the name of a trusted authority and not its signature: is it of an older or newer key of that \
             authority? (BadSignature)"
                .to_owned()
        }
        CertificateError::Expired => "the certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate has expired at {}", since(not_after.as_secs()))
        }
        CertificateError::NotValidYet => "the certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!(
                "the certificate is not valid before {}: are the clocks of both ends right?",
                since(not_before.as_secs())
            )
        }
        CertificateError::NotValidForName => "the certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            if presented.is_empty() {
                return format!(
                    "the certificate is not for {expected}: it has no subject alternative name (NotValidForName)"
                );
            }
            format!("the certificate is for {} and not for {expected} (NotValidForName)", names(presented))
        }
        CertificateError::Revoked => "the certificate is revoked".to_owned(),
        CertificateError::BadEncoding => "the certificate cannot be parsed (BadEncoding)".to_owned(),
        wrong if is_authority(wrong) => "the certificate is that of an authority (CA:TRUE), which is not accepted as a \
                                         server's, even if it is trusted (CaUsedAsEndEntity)"
            .to_owned(),
        CertificateError::UnhandledCriticalExtension => {
            "the certificate has a critical extension that connscope's TLS library does not know \
             (UnhandledCriticalExtension)"
                .to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is for another purpose: its extended key usage does not allow this end of TLS (InvalidPurpose)"
                .to_owned()
        }
        _ => format!("the certificate is not accepted: {wrong}"),
    }
}

/// Whether the peer does not accept the client certificate, or that there is none.
pub fn refuses_client(error: &TlsError) -> bool {
    matches!(
        error,
        TlsError::AlertReceived(
            AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::DecryptError,
        )
    )
}

/// Names that are listed of a certificate; some have hundreds.
const NAMES: usize = 3;

/// The names of a certificate as rustls has them, `DnsName("a")`, without what is around them.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        inner.trim_matches('"').to_owned()
    };
    let mut list: Vec<String> = presented.iter().take(NAMES).map(bare).collect();
    if presented.len() > NAMES {
        list.push(format!("{} more", presented.len().saturating_sub(NAMES)));
    }
    list.join(", ")
}

fn instant(seconds: u64) -> SystemTime {
    // humantime formats no year after 9999.
    UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799))
}

/// Whether a certificate was refused for being an authority's: rustls has no word of its own for one that signed itself.
pub fn is_authority(wrong: &CertificateError) -> bool {
    matches!(wrong, CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity"))
}

/// What the cryptography library cannot do, where that is why TLS failed.
pub fn limit(error: &TlsError) -> Option<&'static str> {
    match error {
        TlsError::InvalidCertificate(
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => Some(
            "connscope's TLS library cannot verify the certificate: it knows RSA of 2048 bits and more, P-256, P-384 and \
             Ed25519, not P-521 and no signatures with SHA-1",
        ),
        TlsError::AlertReceived(AlertDescription::HandshakeFailure) => Some(
            "the peer has no protocol version, cipher suite or signature algorithm in common with connscope, which speaks \
             TLS 1.2 and 1.3 with ECDHE and verifies RSA, P-256, P-384 and Ed25519. Its TLS library cannot verify keys on \
             P-521",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::PeerIncompatible;
    use rustls::pki_types::{ServerName, UnixTime};

    #[test]
    fn what_is_wrong_is_a_sentence_with_names_and_times() {
        let name = ServerName::try_from("a.example").unwrap();
        let presented =
            ["DnsName(\"b.example\")", "IpAddress(192.0.2.1)", "DnsName(\"c\")", "DnsName(\"d\")"];
        let other = |presented: &[&str]| CertificateError::NotValidForNameContext {
            expected: name.to_owned(),
            presented: presented.iter().map(ToString::to_string).collect(),
        };
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let cases = [
            (other(&presented), "for b.example, 192.0.2.1, c, 1 more and not for a.example"),
            (other(&[]), "not for a.example: it has no subject alternative name"),
            (
                CertificateError::ExpiredContext { time: at(9), not_after: at(0) },
                "expired at 1970-01-01T00:00:00Z",
            ),
            (
                CertificateError::NotValidYetContext { time: at(9), not_before: at(u64::MAX) },
                "not valid before 9999-12-31T23:59:59Z",
            ),
            (CertificateError::BadSignature, "and not its signature"),
            (CertificateError::UnknownIssuer, "no authority that is trusted"),
            (CertificateError::Revoked, "is revoked"),
        ];
        for (error, expected) in cases {
            let text = explain(&TlsError::InvalidCertificate(error));
            assert!(text.starts_with("the certificate ") && text.contains(expected), "{text}");
        }
        let text = explain(&TlsError::AlertReceived(AlertDescription::UnknownCA));
        assert!(
            text.contains("does not accept the client certificate") && text.contains("UnknownCA"),
            "{text}"
        );
        for (error, expected) in [
            (
                TlsError::AlertReceived(AlertDescription::InternalError),
                "the peer ended TLS with an alert (InternalError)",
            ),
            (
                TlsError::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon),
                "the peer has no version or method",
            ),
            (TlsError::DecryptError, "the peer does not keep to the protocol of TLS"),
            (TlsError::General("why".to_owned()), "TLS failed: "),
            (
                TlsError::InvalidCertificate(CertificateError::UnhandledCriticalExtension),
                "the certificate has a critical extension",
            ),
            (
                TlsError::InvalidCertificate(CertificateError::UnknownRevocationStatus),
                "the certificate is not accepted: ",
            ),
        ] {
            let text = explain(&error);
            assert!(text.starts_with(expected), "{text}");
        }
    }
}
