//! The labels of the containers: the closed sets of their values, and which have one bound together.

use super::failure::Failure;
use crate::host::inventory::workload_and;
use crate::metric::label::{Event, closed_set};
use crate::metric::{Label, LabelSet};

closed_set! {
    /// The closed set of values of the label `key`: the limit that was exceeded.
    LeftOut {
        /// A container or service (`inventory.limit`).
        Container = "container",
        /// A connection whose destination is counted under `~other` (`tcp.destinations`, `tcp.total`).
        Destination = "destination",
        /// A connection that is not followed (`tcp.connections`), or is of a container that is left out.
        Connection = "connection",
        /// A connection of a control group over the limit of 4096 groups in the BPF map.
        Cgroup = "cgroup",
        /// A listening socket over the limit of 4096 in the BPF map.
        Listener = "listener",
        /// A container whose resources a cycle had no time for, in each such cycle.
        Resources = "resources",
        /// A block device of a container over the limit, in each cycle.
        Disk = "disk",
        /// A mount of a container over the limit, in each cycle.
        Volume = "volume",
        /// A mount whose file system did not tell its size in time, in each cycle.
        VolumeSize = "volume_size",
        /// A mount that a cycle had no time to ask for its size, in each cycle.
        VolumeUnasked = "volume_unasked",
        /// A connection whose translation was not asked for (`tcp.translate_rate`).
        Translation = "translation",
    }
}

closed_set! {
    /// The closed set of values of the label `part`: what is read in one way or another.
    SourcePart {
        /// Time that processes wait for a CPU and for disks.
        Delay = "delay",
        /// What containers are called.
        Names = "names",
        /// Processes that were killed because memory was exhausted.
        Oom = "oom",
        /// What containers use of CPU, memory and disks, and their limits.
        Resources = "resources",
        /// TCP connections and listening sockets.
        Tcp = "tcp",
        /// Mounted file systems of containers.
        Volumes = "volumes",
    }
}

closed_set! {
    /// The closed set of values of the label `via`: the way it is read.
    Via {
        /// Files of the control groups.
        Cgroup = "cgroup",
        /// Files of the engine.
        File = "file",
        /// Docker's socket.
        Socket = "socket",
        /// Programs in the kernel.
        Bpf = "bpf",
        /// Taskstats over netlink.
        Taskstats = "taskstats",
        /// Files of one process of each container, or of each network namespace.
        Procfs = "procfs",
    }
}

const BOUNDED_BY: &str =
    "`inventory.limit`, containers and services that ended less than `inventory.retention` ago included";

/// A container or service.
pub static WORKLOAD: LabelSet = LabelSet::configured(workload_and![], BOUNDED_BY);

/// A container or service, with its metadata.
pub static INFO: LabelSet =
    LabelSet::configured(workload_and![Cgroup, ContainerImageName, ContainerRuntimeName], BOUNDED_BY);

/// A container, as coroot-node-agent identifies it.
pub static CLASSIC: LabelSet =
    LabelSet::configured(&[Label::ClassicContainerId, Label::ClassicMachineId], BOUNDED_BY);

/// A destination of a container: the container, the requested and the actual destination.
pub static DESTINATION: LabelSet = LabelSet::configured(
    workload_and![PeerAddress, PeerPort, ServerAddress, ServerPort],
    "`sources.containers.tcp.total`, by default 2000, which are at most 38,000 series; and one for `~other` of each container",
);

/// Block devices that one container has on average, where many have many.
pub const AVERAGE_DISKS: usize = 4;

/// A block device that a container has used.
pub static DISK: LabelSet = LabelSet::configured(
    workload_and![SystemDevice],
    "32 of one container, and on average 4 of each of `inventory.limit`",
);

/// Mounts with a block device that one container has on average, where many have many.
pub const AVERAGE_VOLUMES: usize = 4;

const VOLUMES: &str = "32 of one container, and on average 4 of each of `inventory.limit`";

/// A mount of a container.
pub static VOLUME: LabelSet =
    LabelSet::configured(workload_and![SystemDevice, SystemFilesystemMountpoint], VOLUMES);

/// A mount of a container, as coroot-node-agent says it.
pub static CLASSIC_VOLUME: LabelSet = LabelSet::configured(
    &[
        Label::ClassicContainerId,
        Label::ClassicDevice,
        Label::ClassicMachineId,
        Label::ClassicMountPoint,
        Label::ClassicProvisioner,
        Label::ClassicVolume,
    ],
    VOLUMES,
);

/// `read` or `write`.
pub static DISK_IO_DIRECTION: LabelSet = LabelSet::fixed(&[Label::DiskIoDirection], 2);

/// What tasks are stalled for, and whether some or all of them.
pub static PRESSURE: LabelSet = LabelSet::fixed(&[Label::Kind, Label::Resource], 6);

const CLASSIC_DESTINATIONS: &str = "`sources.containers.tcp.total`, and one for `~other` of each container";

/// Event of a connection, and for failures the reason.
pub static EVENT: LabelSet =
    LabelSet::fixed(&[Label::Event, Label::ErrorType], Event::ALL.len() - 1 + Failure::ALL.len());

/// An address that a container has connections to.
pub static ICMP: LabelSet = LabelSet::configured(
    workload_and![PeerAddress],
    "`sources.containers.tcp.total` with `tcp.latency: icmp`",
);

/// A listen address of a container.
pub static LISTEN: LabelSet = LabelSet::configured(workload_and![LocalAddress, LocalPort, Proxy], LISTENERS);

/// Maximum number of listen addresses.
pub const MOST_LISTENERS: usize = 4096;
const LISTENERS: &str = "4096";

/// A destination of a container, as coroot-node-agent says it.
pub static CLASSIC_DESTINATION: LabelSet = LabelSet::configured(
    &[
        Label::ClassicActualDestination,
        Label::ClassicContainerId,
        Label::ClassicDestination,
        Label::ClassicMachineId,
    ],
    CLASSIC_DESTINATIONS,
);

/// A requested destination of a container, as coroot-node-agent prints it.
pub static CLASSIC_ASKED: LabelSet = LabelSet::configured(
    &[Label::ClassicContainerId, Label::ClassicDestination, Label::ClassicMachineId],
    CLASSIC_DESTINATIONS,
);

/// An address that a container has connections to, as coroot-node-agent says it.
pub static CLASSIC_ADDRESS: LabelSet = LabelSet::configured(
    &[Label::ClassicContainerId, Label::ClassicDestinationIp, Label::ClassicMachineId],
    CLASSIC_DESTINATIONS,
);

/// Where a container listens, as coroot-node-agent says it.
pub static CLASSIC_LISTEN: LabelSet = LabelSet::configured(
    &[Label::ClassicContainerId, Label::ClassicListenAddr, Label::ClassicMachineId, Label::Proxy],
    LISTENERS,
);

const MOST_APPLICATIONS: &str = "`inventory.limit`, and 4 types of each container";

/// A container or service, and a type of application that it has.
pub static APPLICATION: LabelSet = LabelSet::configured(workload_and![ApplicationType], MOST_APPLICATIONS);

/// A container and a type of application, as coroot-node-agent says it.
pub static CLASSIC_APPLICATION: LabelSet = LabelSet::configured(
    &[Label::ClassicApplicationType, Label::ClassicContainerId, Label::ClassicMachineId],
    MOST_APPLICATIONS,
);

/// The node, as coroot-node-agent says it.
pub static NODE: LabelSet =
    LabelSet::fixed(&[Label::ClassicHostname, Label::ClassicKernelVersion, Label::ClassicMachineId], 1);

/// The node in its cloud, as coroot-node-agent says it.
pub static NODE_CLOUD: LabelSet = LabelSet::fixed(
    &[
        Label::ClassicAccountId,
        Label::ClassicAvailabilityZone,
        Label::ClassicAvailabilityZoneId,
        Label::ClassicInstanceId,
        Label::ClassicInstanceLifeCycle,
        Label::ClassicInstanceType,
        Label::ClassicLocalIpv4,
        Label::ClassicMachineId,
        Label::ClassicProvider,
        Label::ClassicPublicIpv4,
        Label::ClassicRegion,
    ],
    1,
);

/// The agent itself, as coroot-node-agent says it.
pub static AGENT: LabelSet = LabelSet::fixed(&[Label::ClassicMachineId, Label::Version], 1);

/// Kind of object that was left out because a limit was reached.
pub static LEFT_OUT: LabelSet = LabelSet::fixed(&[Label::Key], LeftOut::ALL.len());

/// Part of the source, and the method by which it is read.
pub static SOURCE: LabelSet =
    LabelSet::fixed(&[Label::SourcePart, Label::Via], SourcePart::ALL.len() * Via::ALL.len());
