//! The closed sets of label values: each value with its word, and what it means.

/// A closed set of label values: the type, its values with their words, and what they mean.
macro_rules! closed_set {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant),* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The label value.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    };
}

closed_set! {
    /// The closed set of values of the label `reason` of an error: what the operator should do about it.
    Reason {
        /// The machine does not have it.
        Absent = "absent",
        /// It is there, and the agent may not.
        Denied = "denied",
        /// Reading failed.
        Io = "io",
        /// The answer could not be understood.
        Parse = "parse",
        /// No answer came in time.
        Timeout = "timeout",
        /// The source itself broke.
        Panicked = "panicked",
    }
}

closed_set! {
    /// The closed set of values of the label `event`: what became of a connection. `opened` less `closed` less `reset` is
    /// what is open now.
    Event {
        /// It was established.
        Opened = "opened",
        /// It was established and ended in order.
        Closed = "closed",
        /// It was established and ended by a reset of either end or a time-out.
        Reset = "reset",
        /// It was never established.
        Failed = "failed",
    }
}

closed_set! {
    /// The closed set of values of the label `reason` of `tcp.limited.time`, in the kernel's words.
    Limited {
        /// The window of the receiver was full.
        ReceiveWindow = "rwnd",
        /// The send buffer was full.
        SendBuffer = "sndbuf",
    }
}

closed_set! {
    /// The closed set of values of the label `key`: what a socket was left out of, as a rule because it had reached its limit.
    Key {
        /// Groups (`limit`).
        Group = "group",
        /// Sockets remembered between two cycles (`track`).
        Track = "track",
        /// Ports of services.
        ServicePort = "service_port",
        /// Groups of peers.
        PeerGroup = "peer_group",
        /// Control groups.
        Cgroup = "cgroup",
        /// Containers.
        Container = "container",
        /// Names of processes.
        Process = "process",
        /// Users.
        Uid = "uid",
        /// Nothing: there was no evidence of which end opened a connection.
        Direction = "direction",
        /// Nothing: the end of a socket tells too little for the filter.
        Filter = "filter",
    }
}

closed_set! {
    /// The closed set of values of the label `error.type` of the probes: why a peer was not reached, or not as it should.
    ProbeError {
        /// The name does not exist, or has no address of the family that was asked for.
        DnsNotFound = "dns_not_found",
        /// No name server answered in time.
        DnsTimeout = "dns_timeout",
        /// The peer says that nobody listens there.
        ConnectionRefused = "connection_refused",
        /// The time of the probe was up.
        Timeout = "timeout",
        /// The peer broke the connection off.
        ConnectionReset = "connection_reset",
        /// A router, or this machine, says that the host cannot be reached.
        HostUnreachable = "host_unreachable",
        /// A router, or this machine, has no way to the network.
        NetworkUnreachable = "network_unreachable",
        /// The agent, or a packet filter, may not.
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
        /// None of the others.
        Other = "_OTHER",
    }
}

closed_set! {
    /// The closed set of values of the label `outcome`: how a probe ended.
    Outcome {
        /// The peer was reached and is as it should be.
        Success = "success",
        /// It was not, or is not.
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

/// Why an export failed: the closed set of values of `error.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErrorType(&'static str);

/// The names of the gRPC status codes, by number.
const GRPC: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The HTTP status codes an OTLP receiver or a proxy before it is known to give.
const HTTP: [(u16, &str); 14] = [
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (413, "413"),
    (415, "415"),
    (429, "429"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
];

impl ErrorType {
    /// How many there are, success included.
    pub const BOUND: usize = GRPC.len() + HTTP.len() + 5;

    /// No answer in time.
    pub const TIMEOUT: Self = Self("timeout");
    /// The connection could not be made or broke.
    pub const CONNECTION: Self = Self("connection");
    /// The receiver took the message and threw data points of it away.
    pub const REJECTED: Self = Self("rejected");
    /// None of the others.
    pub const OTHER: Self = Self("_OTHER");

    /// That of a gRPC status.
    pub fn grpc(code: tonic::Code) -> Self {
        usize::try_from(code as i32)
            .ok()
            .and_then(|code| GRPC.get(code))
            .map_or(Self::OTHER, |name| Self(name))
    }

    /// That of an HTTP status.
    pub fn http(status: u16) -> Self {
        HTTP.iter().find(|(code, _)| *code == status).map_or(Self::OTHER, |(_, name)| Self(name))
    }

    /// The label value.
    pub fn word(self) -> &'static str {
        self.0
    }
}
