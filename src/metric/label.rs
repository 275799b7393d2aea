//! The keys of labels. Their bounds are those of the sets that they are in ([`LabelSet`](super::LabelSet)).

pub mod closed;
pub mod key;

pub(crate) use closed::closed_set;
pub use closed::{Event, Reason};
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
    /// Name of a connection tracking helper.
    Helper,
    /// Name of a source; of a message, where it was logged, as coroot-node-agent prints it.
    Source,
    /// Class of the error of a source.
    Reason,
    /// Method by which a source is read.
    Via,
    /// Version of the agent.
    Version,
    /// `user` or `system` (semantic conventions).
    CpuMode,
    /// Name of an SDK component (semantic conventions).
    ComponentName,
    /// Type of an SDK component (semantic conventions).
    ComponentType,
    /// Class of an error (semantic conventions).
    ErrorType,
    /// Host or address of a server (semantic conventions).
    ServerAddress,
    /// Port of a server (semantic conventions).
    ServerPort,
    /// State of a connection (semantic conventions).
    ConnectionState,
    /// `tcp` or `udp` (semantic conventions).
    Transport,
    /// `ipv4` or `ipv6` (semantic conventions).
    NetworkType,
    /// `transmit` or `receive` (semantic conventions).
    IoDirection,
    /// Event of a connection.
    Event,
    /// The limit that was exceeded.
    Key,
    /// Direction of a connection: `incoming`, `outgoing` or `~unknown`.
    Direction,
    /// Name of the configured networks a peer belongs to.
    PeerGroup,
    /// Path of a control group below its mount.
    Cgroup,
    /// Id of a container (semantic conventions).
    ContainerId,
    /// Name of a container (semantic conventions).
    ContainerName,
    /// Image of a container (semantic conventions).
    ContainerImageName,
    /// Container runtime (semantic conventions).
    ContainerRuntimeName,
    /// Namespace of a pod (semantic conventions).
    K8sNamespaceName,
    /// Name of a pod (semantic conventions).
    K8sPodName,
    /// Name of a container in its pod (semantic conventions).
    K8sContainerName,
    /// Name of a systemd unit.
    SystemdUnit,
    /// Path of a log file (semantic conventions).
    LogFilePath,
    /// Kind of log: a file, or that of a container engine.
    LogSource,
    /// Severity of a log message.
    Severity,
    /// Hash of the words of a message that do not vary, `~other` or `~skipped`.
    Pattern,
    /// Sample of the messages of a pattern.
    Sample,
    /// A part of a source that can be read by several methods.
    SourcePart,
    /// Identity of a container, as coroot-node-agent prints it.
    ClassicContainerId,
    /// Id of the machine, as coroot-node-agent prints it.
    ClassicMachineId,
    /// Name of a process, as `/proc/PID/comm` has it (semantic conventions).
    ProcessName,
    /// Number of a user (semantic conventions).
    UserId,
    /// Address of this end of a flow (semantic conventions).
    LocalAddress,
    /// Port of this end of a flow (semantic conventions).
    LocalPort,
    /// Address of the other end of a flow (semantic conventions).
    PeerAddress,
    /// Port of the other end of a flow (semantic conventions).
    PeerPort,
    /// Both ends of a flow, as prometheus_ss_exporter prints them.
    Flow,
    /// Name of a target of the probes.
    ProbeName,
    /// Outcome of a probe.
    Outcome,
    /// Part of a probe.
    Phase,
    /// Host of a target, as connection-status-exporter prints it.
    ClassicHost,
    /// Name of a target, as connection-status-exporter prints it.
    ClassicName,
    /// Port of a target, as connection-status-exporter prints it.
    ClassicPort,
    /// Kind of a target, as connection-status-exporter prints it.
    ClassicProtocol,
    /// Destination of a connection, as coroot-node-agent prints it.
    ClassicDestination,
    /// Destination that a connection has got behind NAT, as coroot-node-agent prints it.
    ClassicActualDestination,
    /// Address of a destination, as coroot-node-agent prints it.
    ClassicDestinationIp,
    /// Where a container listens, as coroot-node-agent prints it.
    ClassicListenAddr,
    /// Where a file system is mounted (semantic conventions).
    SystemFilesystemMountpoint,
    /// Where a volume is mounted, as coroot-node-agent prints it.
    ClassicMountPoint,
    /// Who provides a volume, as coroot-node-agent prints it.
    ClassicProvisioner,
    /// Name of a volume, as coroot-node-agent prints it.
    ClassicVolume,
    /// What tasks are stalled for: `cpu`, `memory` or `io`.
    Resource,
    /// What listens for a container: `dockerd`, where Docker publishes the port.
    Proxy,
    /// Severity of a message, as coroot-node-agent prints it.
    ClassicLevel,
    /// Hash of the words of a message that do not vary, as coroot-node-agent prints it.
    ClassicPatternHash,
    /// What memory is used for (semantic conventions).
    MemoryState,
    /// `read` or `write` (semantic conventions).
    DiskIoDirection,
    /// Name of a disk (semantic conventions).
    SystemDevice,
    /// Name of a network interface (semantic conventions).
    InterfaceName,
    /// What CPU time was spent on, as coroot-node-agent prints it.
    ClassicMode,
    /// Name of a disk, as coroot-node-agent prints it.
    ClassicDevice,
    /// Name of a network interface, as coroot-node-agent prints it.
    ClassicInterface,
    /// Address of a network interface, as coroot-node-agent prints it.
    ClassicIp,
    /// A limit that the cloud sets.
    Limit,
    /// Kind of an error of a network interface; of a pressure, `some` or `full`.
    Kind,
    /// Kind of a queueing discipline.
    Qdisc,
    /// What an ICMP message reports.
    IcmpType,
    /// Code of an ICMP error message, as RFC 792 numbers it.
    IcmpCode,
    /// Family of a table of nftables: `ip`, `ip6`, `inet`.
    Family,
    /// Table of nftables.
    Table,
    /// Chain of a table of nftables.
    Chain,
    /// Comment of a rule.
    Comment,
    /// What a rule does with a packet.
    Verdict,
    /// Type of an application.
    ApplicationType,
    /// Type of an application, as coroot-node-agent prints it.
    ClassicApplicationType,
    /// Name of the node, as coroot-node-agent prints it.
    ClassicHostname,
    /// Release of the kernel, as coroot-node-agent prints it.
    ClassicKernelVersion,
    /// Cloud of the node, as coroot-node-agent prints it.
    ClassicProvider,
    /// Account in the cloud, as coroot-node-agent prints it.
    ClassicAccountId,
    /// Id of the node in its cloud, as coroot-node-agent prints it.
    ClassicInstanceId,
    /// Type of the node in its cloud, as coroot-node-agent prints it.
    ClassicInstanceType,
    /// How the node is paid for, as coroot-node-agent prints it.
    ClassicInstanceLifeCycle,
    /// Region of the node, as coroot-node-agent prints it.
    ClassicRegion,
    /// Availability zone of the node, as coroot-node-agent prints it.
    ClassicAvailabilityZone,
    /// Id of the availability zone of the node, as coroot-node-agent prints it.
    ClassicAvailabilityZoneId,
    /// First address of the node, as coroot-node-agent prints it.
    ClassicLocalIpv4,
    /// Address of the node in the Internet, as coroot-node-agent prints it.
    ClassicPublicIpv4,
    /// How far an entry of the connection tracking table has come: `unreplied`, `replied`, `assured` or `offloaded`.
    EntryStatus,
    /// What is translated: `none`, `source`, `destination` or `both`.
    Nat,
    /// Zone of connection tracking.
    Zone,
    /// Source address of a connection (semantic conventions).
    SourceAddress,
    /// Destination address of a connection (semantic conventions).
    DestinationAddress,
    /// Destination port of a connection (semantic conventions).
    DestinationPort,
    /// A label that the configuration gives to a probe target. It may be used wherever [`Label::ProbeName`] does.
    Configured(ConfiguredKey),
}

impl Label {
    /// Attribute key, equal in OTLP and (with `.` as `_`) in Prometheus.
    #[expect(clippy::too_many_lines, reason = "a line for each label")]
    pub fn key(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Netns => "netns",
            Self::Field => "field",
            Self::Sysctl => "sysctl",
            Self::Helper => "helper",
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
            Self::ConnectionState => "network.connection.state",
            Self::Transport => "network.transport",
            Self::NetworkType => "network.type",
            Self::IoDirection => "network.io.direction",
            Self::Event => "event",
            Self::Key => "key",
            Self::Direction => "direction",
            Self::PeerGroup => "peer_group",
            Self::Cgroup => "cgroup",
            Self::ContainerId => "container.id",
            Self::ContainerName => "container.name",
            Self::ContainerImageName => "container.image.name",
            Self::ContainerRuntimeName => "container.runtime.name",
            Self::K8sNamespaceName => "k8s.namespace.name",
            Self::K8sPodName => "k8s.pod.name",
            Self::K8sContainerName => "k8s.container.name",
            Self::SystemdUnit => "systemd.unit",
            Self::LogFilePath => "log.file.path",
            Self::LogSource => "log.source",
            Self::Severity => "severity",
            Self::Pattern => "pattern",
            Self::Sample => "sample",
            Self::SourcePart => "part",
            Self::ClassicContainerId => "container_id",
            Self::ClassicMachineId => "machine_id",
            Self::ProcessName => "process.executable.name",
            Self::UserId => "user.id",
            Self::LocalAddress => "network.local.address",
            Self::LocalPort => "network.local.port",
            Self::PeerAddress => "network.peer.address",
            Self::PeerPort => "network.peer.port",
            Self::Flow => "flow",
            Self::ProbeName => "probe.name",
            Self::Outcome => "outcome",
            Self::Phase => "phase",
            Self::ClassicHost => "host",
            Self::ClassicName => "name",
            Self::ClassicPort => "port",
            Self::ClassicProtocol => "protocol",
            Self::ClassicDestination => "destination",
            Self::ClassicActualDestination => "actual_destination",
            Self::ClassicDestinationIp => "destination_ip",
            Self::ClassicListenAddr => "listen_addr",
            Self::SystemFilesystemMountpoint => "system.filesystem.mountpoint",
            Self::ClassicMountPoint => "mount_point",
            Self::ClassicProvisioner => "provisioner",
            Self::ClassicVolume => "volume",
            Self::Resource => "resource",
            Self::Proxy => "proxy",
            Self::ClassicLevel => "level",
            Self::ClassicPatternHash => "pattern_hash",
            Self::MemoryState => "system.memory.state",
            Self::DiskIoDirection => "disk.io.direction",
            Self::SystemDevice => "system.device",
            Self::InterfaceName => "network.interface.name",
            Self::ClassicMode => "mode",
            Self::ClassicDevice => "device",
            Self::ClassicInterface => "interface",
            Self::ClassicIp => "ip",
            Self::Limit => "limit",
            Self::Kind => "kind",
            Self::Qdisc => "qdisc",
            Self::IcmpType => "icmp.type",
            Self::IcmpCode => "icmp.code",
            Self::Family => "family",
            Self::Table => "table",
            Self::Chain => "chain",
            Self::Comment => "comment",
            Self::Verdict => "verdict",
            Self::ApplicationType => "application.type",
            Self::ClassicApplicationType => "application_type",
            Self::ClassicHostname => "hostname",
            Self::ClassicKernelVersion => "kernel_version",
            Self::ClassicProvider => "provider",
            Self::ClassicAccountId => "account_id",
            Self::ClassicInstanceId => "instance_id",
            Self::ClassicInstanceType => "instance_type",
            Self::ClassicInstanceLifeCycle => "instance_life_cycle",
            Self::ClassicRegion => "region",
            Self::ClassicAvailabilityZone => "availability_zone",
            Self::ClassicAvailabilityZoneId => "availability_zone_id",
            Self::ClassicLocalIpv4 => "local_ipv4",
            Self::ClassicPublicIpv4 => "public_ipv4",
            Self::EntryStatus => "status",
            Self::Nat => "nat",
            Self::Zone => "zone",
            Self::SourceAddress => "source.address",
            Self::DestinationAddress => "destination.address",
            Self::DestinationPort => "destination.port",
            Self::Configured(key) => key.word(),
        }
    }
}
