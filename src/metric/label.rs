//! The labels there are, how many values each can take, and the closed sets among them.

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
            Self::ErrorType => "error.type",
            Self::ServerAddress => "server.address",
            Self::ServerPort | Self::ServicePort => "server.port",
            Self::ConnectionState => "network.connection.state",
            Self::Transport => "network.transport",
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
            Self::PeerAddress => "network.peer.address",
            Self::PeerPort => "network.peer.port",
            Self::Flow => "flow",
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
    /// The closed set of values of the label `key`: what had reached its limit when a socket was left out of it.
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
