//! The labels there are, and how many values each can take.

pub mod closed;
pub mod key;

pub use closed::{ErrorType, Event, Key, Limited, Outcome, Phase, ProbeError, Reason};
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
    /// Which end opened a connection, `incoming`, `outgoing` or `~unknown`; of a group of sockets.
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
