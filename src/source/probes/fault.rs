//! Reasons of failed probes: maps errors of the kernel, the TLS library and name servers to `error.type` (pure).

use crate::source::probes::labels::ProbeError;
use crate::text::{LONGEST_ERROR, bounded};
use crate::tls::explain::{self, explain, is_authority, limit};
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use std::io;
use std::time::Duration;

/// The reason of a failed probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Value of the attribute `error.type`.
    pub error: ProbeError,
    /// Message, for `/probes` and `/probe?debug=true`.
    pub message: String,
    /// Whether the cause is a shortage of the agent or its machine: the result says nothing about the peer.
    pub local: bool,
}

impl Fault {
    /// A fault with this `error.type`. Peers can influence the message, so it is truncated.
    pub fn new(error: ProbeError, message: impl AsRef<str>) -> Self {
        Self { error, message: bounded(message.as_ref(), LONGEST_ERROR), local: false }
    }

    /// The fault that no name server answered in time.
    pub fn unanswered(within: Duration) -> Self {
        let within = humantime::format_duration(within);
        Self::new(ProbeError::DnsTimeout, format!("no name server answered within {within}"))
    }

    /// A fault caused by a shortage of the agent or its machine.
    pub fn local(doing: &str, error: &io::Error) -> Self {
        Self { local: true, ..Self::new(of_io(error), format!("{doing}: {error}")) }
    }

    /// The fault of an operating system error. `doing` is the operation.
    pub fn io(doing: &str, error: &io::Error) -> Self {
        if let Some(tls) = explain::of_io(error) {
            return Self::tls(doing, tls);
        }
        Self { local: is_local(error), ..Self::new(of_io(error), format!("{doing}: {error}")) }
    }

    /// The fault of a `connect` error over IP. `EAGAIN` means that there is no free port for a datagram socket
    /// (`inet_autobind` in `net/ipv4/af_inet.c`), or no memory for a route.
    pub fn connecting(doing: &str, error: &io::Error) -> Self {
        let fault = Self::io(doing, error);
        Self { local: fault.local || error.raw_os_error() == Some(libc::EAGAIN), ..fault }
    }

    /// The fault of a TLS error.
    pub fn tls(doing: &str, error: &TlsError) -> Self {
        let word = match error {
            TlsError::InvalidCertificate(wrong) => of_certificate(wrong),
            TlsError::NoCertificatesPresented => ProbeError::TlsCertificate,
            // An alert about a certificate concerns the client certificate.
            _ => ProbeError::TlsHandshake,
        };
        Self::new(word, format!("{doing}: {}", advised(error)))
    }
}

/// Message of a TLS error, with what to change.
fn advised(error: &TlsError) -> String {
    let what = explain(error);
    let advice = match error {
        _ if limit(error).is_some() => "tls.verify: false accepts any certificate and any key",
        TlsError::InvalidMessage(_) => {
            "write http:// instead of https://, take kind: tcp instead of tls, or name the port of TLS"
        }
        TlsError::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "a gRPC server supports h2 only: probe it with kind: tls and tls.alpn: [h2]"
        }
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            "set tls.cert_file and tls.key_file"
        }
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => "name its authority in tls.ca_file",
        _ => return what,
    };
    format!("{what}; {advice}")
}

/// Whether an error is a shortage of this machine, independent of the peer: no descriptor, memory or buffer, or the
/// limit of `epoll_ctl` (`ENOSPC`). No packet of a peer causes one of these (`icmp_err_convert` in `net/ipv4/icmp.c`).
fn is_local(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::ENOSPC)
    )
}

fn of_io(error: &io::Error) -> ProbeError {
    if let Some(number) = error.raw_os_error() {
        return match number {
            libc::ECONNREFUSED => ProbeError::ConnectionRefused,
            libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED | libc::ENETRESET => {
                ProbeError::ConnectionReset
            }
            libc::EHOSTUNREACH | libc::EHOSTDOWN => ProbeError::HostUnreachable,
            libc::ENETUNREACH | libc::ENETDOWN | libc::ENONET => ProbeError::NetworkUnreachable,
            libc::EACCES | libc::EPERM => ProbeError::PermissionDenied,
            libc::ENOENT | libc::ENOTDIR => ProbeError::NoSuchFile,
            libc::ETIMEDOUT => ProbeError::Timeout,
            _ => ProbeError::Other,
        };
    }
    match error.kind() {
        io::ErrorKind::TimedOut => ProbeError::Timeout,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::UnexpectedEof => ProbeError::ConnectionReset,
        io::ErrorKind::InvalidData => ProbeError::UnexpectedResponse,
        _ => ProbeError::Other,
    }
}

fn of_certificate(wrong: &CertificateError) -> ProbeError {
    match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => ProbeError::TlsExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ProbeError::TlsNotYetValid
        }
        CertificateError::UnknownIssuer => ProbeError::TlsUntrusted,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ProbeError::TlsName
        }
        wrong if is_authority(wrong) => ProbeError::TlsUntrusted,
        _ => ProbeError::TlsCertificate,
    }
}
