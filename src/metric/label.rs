//! The labels there are, how many values each can take, and the closed sets among them.

pub mod key;

pub use key::Key as ConfiguredKey;

/// The attributes there are. A label that is not here cannot be observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Label {
    /// Logical CPU the kernel counted on.
    Cpu,
    /// Network namespace that was read.
    Netns,
    /// Kernel word of a counter that the table has no row for.
    Field,
    /// Name of a sysctl file without its `ip_` or `nf_` prefix.
    Sysctl,
    /// Name of a source.
    Source,
    /// Why a source failed.
    Reason,
    /// Way a source is read.
    Via,
    /// Version of the agent.
    Version,
    /// `user` or `system` (semantic conventions).
    CpuMode,
    /// Name of an SDK component (semantic conventions).
    ComponentName,
    /// Type of an SDK component (semantic conventions).
    ComponentType,
    /// Why an export failed (semantic conventions).
    ErrorType,
    /// Host the exporter sends to (semantic conventions).
    ServerAddress,
    /// Port the exporter sends to (semantic conventions).
    ServerPort,
    /// State of a connection (semantic conventions).
    ConnectionState,
    /// `tcp` or `udp` (semantic conventions).
    Transport,
    /// `ipv4` or `ipv6` (semantic conventions).
    NetworkType,
    /// `transmit` or `receive` (semantic conventions).
    IoDirection,
    /// What became of a connection: [`Event`].
    Event,
    /// What a connection was limited by: [`Limited`].
    Limited,
    /// What had reached its limit: [`Key`].
    Key,
    /// Which end opened a connection, `incoming` or `outgoing`; of a group of sockets.
    Direction,
    /// Port of the end that was connected to (semantic conventions); of a group of sockets.
    ServicePort,
    /// Name of the configured networks a peer belongs to; of a group of sockets.
    PeerGroup,
    /// Path of a control group below its mount; of a group of sockets.
    Cgroup,
    /// Container (semantic conventions); of a group of sockets.
    ContainerId,
    /// Name of a process, as `/proc/PID/comm` has it (semantic conventions); of a group of sockets.
    ProcessName,
    /// Number of a user (semantic conventions); of a group of sockets.
    UserId,
    /// `ipv4` or `ipv6` (semantic conventions); of a group of sockets.
    Family,
    /// Address of this end of a flow (semantic conventions).
    LocalAddress,
    /// Port of this end of a flow (semantic conventions).
    LocalPort,
    /// Address of the other end of a flow (semantic conventions).
    PeerAddress,
    /// Port of the other end of a flow (semantic conventions).
    PeerPort,
    /// Both ends of a flow in one text, as prometheus_ss_exporter prints them.
    Flow,
    /// Name of a target of the probes.
    ProbeName,
    /// Name, address or path that a target is probed at (semantic conventions).
    ProbeServer,
    /// Port that a target is probed at (semantic conventions).
    ProbePort,
    /// Address that was probed, where all addresses of a name are (semantic conventions).
    ProbePeer,
    /// `tcp`, `udp` or `unix` (semantic conventions); of a target of the probes.
    ProbeTransport,
    /// Why a probe failed: [`ProbeError`] (semantic conventions).
    ProbeError,
    /// How a probe ended: [`Outcome`].
    Outcome,
    /// Part of a probe: [`Phase`].
    Phase,
    /// Host of a target, as connection-status-exporter prints it.
    ClassicHost,
    /// Name of a target, as connection-status-exporter prints it.
    ClassicName,
    /// Port of a target, as connection-status-exporter prints it.
    ClassicPort,
    /// Kind of a target, as connection-status-exporter prints it.
    ClassicProtocol,
    /// One that the configuration gives to a target of the probes. It may stand wherever [`Label::ProbeName`] does.
    Configured(ConfiguredKey),
}

/// How many values a label can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Possible CPUs of this machine.
    Cpus,
    /// Network namespaces read at once.
    Namespaces,
    /// Sources at work.
    Sources,
    /// Groups of sockets; the labels that have this bound have it together.
    Groups,
    /// Flows of the `classic` profile.
    Flows,
    /// Flows that are shown for being the worst; the labels that have this bound have it together.
    Top,
    /// Targets of the probes; the labels that have this bound have it together.
    Targets,
    /// A number known when the agent was built.
    Values(usize),
}

/// Counters that a kernel newer than the table may add before they are left out.
pub const UNKNOWN_FIELDS: usize = 16;
/// Sysctl files that `table.files` may name.
pub const SYSCTL_FILES: usize = 64;
/// Network namespaces that are read at once; what is over it is counted and left out.
pub const NAMESPACES: usize = 512;

impl Label {
    /// Attribute key, equal in OTLP and (with `.` as `_`) in Prometheus.
    pub fn key(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Netns => "netns",
            Self::Field => "field",
            Self::Sysctl => "sysctl",
            Self::Source => "source",
            Self::Reason | Self::Limited => "reason",
            Self::Via => "via",
            Self::Version => "version",
            Self::CpuMode => "cpu.mode",
            Self::ComponentName => "otel.component.name",
            Self::ComponentType => "otel.component.type",
            Self::ErrorType | Self::ProbeError => "error.type",
            Self::ServerAddress | Self::ProbeServer => "server.address",
            Self::ServerPort | Self::ServicePort | Self::ProbePort => "server.port",
            Self::ConnectionState => "network.connection.state",
            Self::Transport | Self::ProbeTransport => "network.transport",
            Self::NetworkType | Self::Family => "network.type",
            Self::IoDirection => "network.io.direction",
            Self::Event => "event",
            Self::Key => "key",
            Self::Direction => "direction",
            Self::PeerGroup => "peer_group",
            Self::Cgroup => "cgroup",
            Self::ContainerId => "container.id",
            Self::ProcessName => "process.executable.name",
            Self::UserId => "user.id",
            Self::LocalAddress => "network.local.address",
            Self::LocalPort => "network.local.port",
            Self::PeerAddress | Self::ProbePeer => "network.peer.address",
            Self::PeerPort => "network.peer.port",
            Self::Flow => "flow",
            Self::ProbeName => "probe.name",
            Self::Outcome => "outcome",
            Self::Phase => "phase",
            Self::ClassicHost => "host",
            Self::ClassicName => "name",
            Self::ClassicPort => "port",
            Self::ClassicProtocol => "protocol",
            Self::Configured(key) => key.word(),
        }
    }

    /// How many values it takes at most.
    pub fn bound(self) -> Bound {
        match self {
            Self::Cpu => Bound::Cpus,
            Self::Netns => Bound::Namespaces,
            Self::Field => Bound::Values(UNKNOWN_FIELDS),
            Self::Sysctl => Bound::Values(SYSCTL_FILES),
            Self::Source => Bound::Sources,
            Self::Reason => Bound::Values(Reason::ALL.len()),
            Self::Via => Bound::Values(3),
            Self::CpuMode | Self::Transport | Self::NetworkType | Self::IoDirection => Bound::Values(2),
            Self::ConnectionState => Bound::Values(11),
            Self::Event => Bound::Values(Event::ALL.len()),
            Self::Limited => Bound::Values(Limited::ALL.len()),
            Self::Key => Bound::Values(Key::ALL.len()),
            Self::Direction
            | Self::ServicePort
            | Self::PeerGroup
            | Self::Cgroup
            | Self::ContainerId
            | Self::ProcessName
            | Self::UserId
            | Self::Family => Bound::Groups,
            Self::LocalAddress | Self::LocalPort | Self::PeerAddress | Self::PeerPort => Bound::Top,
            Self::Flow => Bound::Flows,
            Self::ProbeName
            | Self::ProbeServer
            | Self::ProbePort
            | Self::ProbePeer
            | Self::ProbeTransport
            | Self::ClassicHost
            | Self::ClassicName
            | Self::ClassicPort
            | Self::ClassicProtocol
            | Self::Configured(_) => Bound::Targets,
            // One more: a probe that succeeded has none.
            Self::ProbeError => Bound::Values(ProbeError::ALL.len() + 1),
            Self::Outcome => Bound::Values(Outcome::ALL.len()),
            Self::Phase => Bound::Values(Phase::ALL.len()),
            Self::ErrorType => Bound::Values(ErrorType::BOUND),
            Self::Version
            | Self::ComponentName
            | Self::ComponentType
            | Self::ServerAddress
            | Self::ServerPort => Bound::Values(1),
        }
    }
}

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
