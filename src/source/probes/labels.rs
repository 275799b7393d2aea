//! The labels of the probes: the closed sets of their values, and which have one bound together.

use crate::metric::label::closed_set;
use crate::metric::{Label, LabelSet};

closed_set! {
    /// The closed set of values of the label `error.type` of the probes: why a probe failed.
    ProbeError {
        /// The name does not exist, or has no address of the family that was asked for.
        DnsNotFound = "dns_not_found",
        /// No name server answered in time.
        DnsTimeout = "dns_timeout",
        /// The peer says that nobody listens there.
        ConnectionRefused = "connection_refused",
        /// The probe timed out.
        Timeout = "timeout",
        /// The peer reset the connection.
        ConnectionReset = "connection_reset",
        /// A router, or this machine, says that the host cannot be reached.
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
        /// The certificate is wrong in some other way.
        TlsCertificate = "tls_certificate",
        /// The handshake failed before or beside the certificate.
        TlsHandshake = "tls_handshake",
        /// The peer answered, and not as was expected.
        UnexpectedResponse = "unexpected_response",
        /// A datagram was sent and nothing came back: open or filtered, nobody knows.
        NoAnswer = "no_answer",
        /// Any other error.
        Other = "_OTHER",
    }
}

closed_set! {
    /// The closed set of values of the label `outcome`: how a probe ended.
    Outcome {
        /// The probe succeeded.
        Success = "success",
        /// The probe failed.
        Failure = "failure",
        /// A datagram was sent and nothing came back, which says neither.
        NoAnswer = "no_answer",
    }
}

closed_set! {
    /// The closed set of values of the label `phase`: the parts of a probe, in their order.
    Phase {
        /// Looking the name up.
        Resolve = "resolve",
        /// From the first packet to the connection.
        Connect = "connect",
        /// The TLS handshake.
        Tls = "tls",
        /// From the request to the beginning of the answer.
        Request = "request",
        /// From the beginning of the answer to its end.
        Transfer = "transfer",
    }
}

/// A target, and where all addresses of a name are probed, the address. The configuration may add labels
/// ([`Label::Configured`]): what is bounded is the number of targets, not of the values.
pub static TARGET: LabelSet = LabelSet::configured(
    &[Label::PeerAddress, Label::Transport, Label::ProbeName, Label::ServerAddress, Label::ServerPort],
    "targets of `sources.probes`, `sources.probes.limit` with files or names",
)
.open();

/// A target, as connection-status-exporter prints it.
pub static CLASSIC_TARGET: LabelSet = LabelSet::configured(
    &[Label::ClassicHost, Label::ClassicName, Label::ClassicPort, Label::ClassicProtocol],
    "targets of `sources.probes`, `sources.probes.limit` with files or names",
);

/// Family that was probed: a target may have both, one after the other.
pub static NETWORK_TYPE: LabelSet = LabelSet::fixed(&[Label::NetworkType], 2);

/// Why a probe failed; a probe that succeeded has none.
pub static ERROR: LabelSet = LabelSet::fixed(&[Label::ErrorType], ProbeError::ALL.len() + 1);

/// Outcome of a probe.
pub static OUTCOME: LabelSet = LabelSet::fixed(&[Label::Outcome], Outcome::ALL.len());

/// Part of a probe.
pub static PHASE: LabelSet = LabelSet::fixed(&[Label::Phase], Phase::ALL.len());
