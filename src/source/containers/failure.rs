//! Why a connection was not established: the values of `error.type`, in the order in which the BPF programs count them.

use crate::metric::label::closed_set;

closed_set! {
    /// Why a connection was not established: `sk_err` of the socket when it was closed.
    Failure {
        /// `ECONNREFUSED`: the other end answered with a reset.
        ConnectionRefused = "connection_refused",
        /// `ETIMEDOUT`: there was no answer.
        Timeout = "timeout",
        /// `EHOSTUNREACH`: an ICMP message said so.
        HostUnreachable = "host_unreachable",
        /// `ENETUNREACH`: an ICMP message or the routing table said so.
        NetworkUnreachable = "network_unreachable",
        /// `ECONNRESET`.
        ConnectionReset = "connection_reset",
        /// `EPERM` or `EACCES`: a packet filter or a policy of this host.
        PermissionDenied = "permission_denied",
        /// No local port was left.
        AddressNotAvailable = "address_not_available",
        /// The program closed the socket before there was an answer.
        Cancelled = "cancelled",
        /// Any other error.
        Other = "_OTHER",
    }
}
