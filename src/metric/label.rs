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
            Self::Reason => "reason",
            Self::Via => "via",
            Self::Version => "version",
            Self::CpuMode => "cpu.mode",
            Self::ComponentName => "otel.component.name",
            Self::ComponentType => "otel.component.type",
            Self::ErrorType => "error.type",
            Self::ServerAddress => "server.address",
            Self::ServerPort => "server.port",
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
            Self::CpuMode => Bound::Values(2),
            Self::ErrorType => Bound::Values(ErrorType::BOUND),
            Self::Version
            | Self::ComponentName
            | Self::ComponentType
            | Self::ServerAddress
            | Self::ServerPort => Bound::Values(1),
        }
    }
}

/// The closed set of values of the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The machine does not have it.
    Absent,
    /// It is there, and the agent may not.
    Denied,
    /// Reading failed.
    Io,
    /// The answer could not be understood.
    Parse,
    /// No answer came in time.
    Timeout,
    /// The source itself broke.
    Panicked,
}

impl Reason {
    /// Every reason.
    pub const ALL: &[Self] =
        &[Self::Absent, Self::Denied, Self::Io, Self::Parse, Self::Timeout, Self::Panicked];

    /// The label value.
    pub fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Denied => "denied",
            Self::Io => "io",
            Self::Parse => "parse",
            Self::Timeout => "timeout",
            Self::Panicked => "panicked",
        }
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
