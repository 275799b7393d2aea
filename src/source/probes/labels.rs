//! Labels of the probes: closed sets of values, and label sets with their bounds.

use crate::metric::label::closed_set;
use crate::metric::{Label, LabelSet};

closed_set! {
    /// Values of the label `error.type` of the probes.
    ProbeError {
        /// The name does not exist, or has no address of the requested family.
        DnsNotFound = "dns_not_found",
        /// No name server answered: in time, or because none can be reached.
        DnsTimeout = "dns_timeout",
        /// The peer reports that nothing listens on the port.
        ConnectionRefused = "connection_refused",
        /// The probe timed out.
        Timeout = "timeout",
        /// The peer reset the connection.
        ConnectionReset = "connection_reset",
        /// A router, or this machine, reports that the host is unreachable.
        HostUnreachable = "host_unreachable",
        /// A router, or this machine, has no route to the network.
        NetworkUnreachable = "network_unreachable",
        /// The agent lacks the permission, or a packet filter rejects.
        PermissionDenied = "permission_denied",
        /// There is no such socket in the file system.
        NoSuchFile = "no_such_file",
        /// A certificate of the chain has expired.
        TlsExpired = "tls_expired",
        /// A certificate of the chain is not valid yet.
        TlsNotYetValid = "tls_not_yet_valid",
        /// The chain does not end at a known authority, or is self-signed.
        TlsUntrusted = "tls_untrusted",
        /// The certificate is for another name.
        TlsName = "tls_name",
        /// The certificate is invalid for another reason.
        TlsCertificate = "tls_certificate",
        /// The handshake failed for a reason other than the certificate.
        TlsHandshake = "tls_handshake",
        /// The peer answered, but not as expected.
        UnexpectedResponse = "unexpected_response",
        /// A datagram was sent and there was no response: the port is open or filtered.
        NoAnswer = "no_answer",
        /// Any other error.
        Other = "_OTHER",
    }
}

closed_set! {
    /// Values of the label `outcome`: the result of a probe.
    Outcome {
        /// The probe succeeded.
        Success = "success",
        /// The probe failed.
        Failure = "failure",
        /// A datagram was sent and there was no response: neither success nor failure.
        NoAnswer = "no_answer",
    }
}

closed_set! {
    /// Values of the label `phase`: the phases of a probe, in order.
    Phase {
        /// Name lookup.
        Resolve = "resolve",
        /// From the first packet to the established connection.
        Connect = "connect",
        /// The TLS handshake.
        Tls = "tls",
        /// From the request to the beginning of the response.
        Request = "request",
        /// From the beginning of the response to its end.
        Transfer = "transfer",
    }
}

/// A target, and if all addresses of a name are probed, the address. The configuration may add labels
/// ([`Label::Configured`]): the number of targets is bounded, not that of values.
pub static TARGET: LabelSet = LabelSet::configured(
    &[Label::PeerAddress, Label::Transport, Label::ProbeName, Label::ServerAddress, Label::ServerPort],
    "targets of `sources.probes`, `sources.probes.limit` with files or names",
)
.open();

/// A target, as in connection-status-exporter.
pub static CLASSIC_TARGET: LabelSet = LabelSet::configured(
    &[Label::ClassicHost, Label::ClassicName, Label::ClassicPort, Label::ClassicProtocol],
    "targets of `sources.probes`, `sources.probes.limit` with files or names",
);

/// Address family that was probed: a target may use both, one after the other.
pub static NETWORK_TYPE: LabelSet = LabelSet::fixed(&[Label::NetworkType], 2);

/// Error type of a failed probe; absent if it succeeded.
pub static ERROR: LabelSet = LabelSet::fixed(&[Label::ErrorType], ProbeError::ALL.len() + 1);

/// Outcome of a probe.
pub static OUTCOME: LabelSet = LabelSet::fixed(&[Label::Outcome], Outcome::ALL.len());

/// Phase of a probe.
pub static PHASE: LabelSet = LabelSet::fixed(&[Label::Phase], Phase::ALL.len());
