//! The metrics of the node. Names that begin with `system.` are those of the semantic conventions
//! ("Semantic conventions for system metrics").

use crate::metric::{Label, LabelSet};
use crate::source::metrics::IO_DIRECTION;

/// Disks that are reported at most.
pub const MOST_DISKS: usize = 1024;
/// Network interfaces that are reported at most.
pub const MOST_INTERFACES: usize = 1024;
/// Addresses of network interfaces that are reported at most.
pub const MOST_ADDRESSES: usize = 4096;

/// What CPU time was spent on.
pub static CPU_MODE: LabelSet = LabelSet::fixed(&[Label::CpuMode], 7);
/// What memory is used for.
pub static MEMORY_STATE: LabelSet = LabelSet::fixed(&[Label::MemoryState], 4);
/// Name of a disk.
pub static DISK: LabelSet = LabelSet::configured(&[Label::SystemDevice], "1024 with `sources.node`");
/// `read` or `write`.
pub static DISK_DIRECTION: LabelSet = LabelSet::fixed(&[Label::DiskIoDirection], 2);
/// Name of a network interface.
pub static INTERFACE: LabelSet = LabelSet::configured(&[Label::InterfaceName], "1024 with `sources.node`");
/// A network interface, and an address of it.
pub static ADDRESS: LabelSet =
    LabelSet::configured(&[Label::InterfaceName, Label::LocalAddress], "4096 with `sources.node`");
/// What there may be too many of.
pub static LEFT_OUT: LabelSet = LabelSet::fixed(&[Label::Key], 2);

/// The machine, as coroot-node-agent says it.
pub static CLASSIC: LabelSet = LabelSet::fixed(&[Label::ClassicMachineId], 1);
/// What CPU time was spent on, as the kernel calls it.
pub static CLASSIC_MODE: LabelSet =
    LabelSet::fixed(&[Label::ClassicMachineId, Label::ClassicMode], super::stat::MODES.len());
/// A disk, as coroot-node-agent says it.
pub static CLASSIC_DISK: LabelSet =
    LabelSet::configured(&[Label::ClassicDevice, Label::ClassicMachineId], "1024 with `sources.node`");
/// A network interface, as coroot-node-agent says it.
pub static CLASSIC_INTERFACE: LabelSet =
    LabelSet::configured(&[Label::ClassicInterface, Label::ClassicMachineId], "1024 with `sources.node`");
/// An address of a network interface, as coroot-node-agent says it.
pub static CLASSIC_ADDRESS: LabelSet = LabelSet::configured(
    &[Label::ClassicInterface, Label::ClassicIp, Label::ClassicMachineId],
    "4096 with `sources.node`",
);

crate::metrics! {
    /// CPU time by mode since the machine was started, summed over all CPUs; time of guests is part of user and nice.
    SYSTEM_CPU_TIME: Counter<f64> = "system.cpu.time" in "s", by [CPU_MODE];
    /// CPUs that are online.
    SYSTEM_CPU_LOGICAL_COUNT: UpDownCounter = "system.cpu.logical.count" in "{cpu}";
    /// Physical memory of the machine, without what firmware and the kernel's code occupy.
    SYSTEM_MEMORY_LIMIT: UpDownCounter = "system.memory.limit" in "By";
    /// Physical memory by state; the states add up to the limit, and used is what is neither free nor page cache.
    SYSTEM_MEMORY_USAGE: UpDownCounter = "system.memory.usage" in "By", by [MEMORY_STATE];
    /// The kernel's estimate of the memory that programs can still have without swapping.
    SYSTEM_MEMORY_LINUX_AVAILABLE: UpDownCounter = "system.memory.linux.available" in "By";
    /// Bytes read from and written to a disk.
    SYSTEM_DISK_IO: Counter<u64> = "system.disk.io" in "By", by [DISK, DISK_DIRECTION];
    /// Operations of a disk that are complete.
    SYSTEM_DISK_OPERATIONS: Counter<u64> = "system.disk.operations" in "{operation}", by [DISK, DISK_DIRECTION];
    /// Time that operations of a disk took, waiting included, summed over operations.
    SYSTEM_DISK_OPERATION_TIME: Counter<f64> = "system.disk.operation_time" in "s", by [DISK, DISK_DIRECTION];
    /// Time in which at least one operation of a disk was in progress.
    SYSTEM_DISK_IO_TIME: Counter<f64> = "system.disk.io_time" in "s", by [DISK];
    /// Bytes that a network interface sent and received.
    SYSTEM_NETWORK_IO: Counter<u64> = "system.network.io" in "By", by [INTERFACE, IO_DIRECTION];
    /// Packets that a network interface sent and received.
    SYSTEM_NETWORK_PACKET_COUNT: Counter<u64> = "system.network.packet.count" in "{packet}", by [INTERFACE, IO_DIRECTION];
    /// Time since the machine was started, suspended time included.
    SYSTEM_UPTIME: Gauge<f64> = "system.uptime" in "s";
    /// 1 if a network interface is up and its carrier too, as far as the kernel knows of one; 0 if not.
    INTERFACE_UP: Gauge<u64> = "interface.up" in "", by [INTERFACE];
    /// Address of a network interface, link-local ones left out; always 1.
    INTERFACE_ADDRESS: Gauge<u64> = "interface.address" in "", by [ADDRESS];
    /// Disks and network interfaces over the limit of 1024 each, by key.
    CONNSCOPE_NODE_LEFT_OUT: UpDownCounter = "connscope.node.left_out" in "{item}", by [LEFT_OUT];
    /// CPU time by the kernel's modes.
    NODE_CLASSIC_CPU_USAGE: Counter<f64> = "node.classic.cpu.usage" in "s", by [CLASSIC_MODE],
        only classic "node_resources_cpu_usage_seconds_total" "The amount of CPU time spent in each mode";
    /// CPUs that are online.
    NODE_CLASSIC_CPU_CORES: Gauge<u64> = "node.classic.cpu.cores" in "{cpu}", by [CLASSIC],
        only classic "node_resources_cpu_logical_cores" "The number of logical CPU cores";
    /// Physical memory.
    NODE_CLASSIC_MEMORY_TOTAL: Gauge<u64> = "node.classic.memory.all" in "By", by [CLASSIC],
        only classic "node_resources_memory_total_bytes" "The total amount of physical memory";
    /// Memory that nobody uses.
    NODE_CLASSIC_MEMORY_FREE: Gauge<u64> = "node.classic.memory.free" in "By", by [CLASSIC],
        only classic "node_resources_memory_free_bytes" "The amount of unassigned memory";
    /// Memory that programs can still have.
    NODE_CLASSIC_MEMORY_AVAILABLE: Gauge<u64> = "node.classic.memory.available" in "By", by [CLASSIC],
        only classic "node_resources_memory_available_bytes" "The total amount of available memory";
    /// Page cache of files.
    NODE_CLASSIC_MEMORY_CACHED: Gauge<u64> = "node.classic.memory.cached" in "By", by [CLASSIC],
        only classic "node_resources_memory_cached_bytes" "The amount of memory used as page cache";
    /// Reads that are complete.
    NODE_CLASSIC_DISK_READS: Counter<u64> = "node.classic.disk.reads" in "{operation}", by [CLASSIC_DISK],
        only classic "node_resources_disk_reads_total" "The total number of reads completed successfully";
    /// Writes that are complete.
    NODE_CLASSIC_DISK_WRITES: Counter<u64> = "node.classic.disk.writes" in "{operation}", by [CLASSIC_DISK],
        only classic "node_resources_disk_writes_total" "The total number of writes completed successfully";
    /// Bytes read.
    NODE_CLASSIC_DISK_READ_BYTES: Counter<u64> = "node.classic.disk.read_bytes" in "By", by [CLASSIC_DISK],
        only classic "node_resources_disk_read_bytes_total" "The total number of bytes read from the disk";
    /// Bytes written.
    NODE_CLASSIC_DISK_WRITTEN_BYTES: Counter<u64> = "node.classic.disk.written_bytes" in "By", by [CLASSIC_DISK],
        only classic "node_resources_disk_written_bytes_total" "The total number of bytes written to the disk";
    /// Time that reads took.
    NODE_CLASSIC_DISK_READ_TIME: Counter<f64> = "node.classic.disk.read_time" in "s", by [CLASSIC_DISK],
        only classic "node_resources_disk_read_time_seconds_total" "The total number of seconds spent reading";
    /// Time that writes took.
    NODE_CLASSIC_DISK_WRITE_TIME: Counter<f64> = "node.classic.disk.write_time" in "s", by [CLASSIC_DISK],
        only classic "node_resources_disk_write_time_seconds_total" "The total number of seconds spent writing";
    /// Time in which an operation was in progress.
    NODE_CLASSIC_DISK_IO_TIME: Counter<f64> = "node.classic.disk.io_time" in "s", by [CLASSIC_DISK],
        only classic "node_resources_disk_io_time_seconds_total" "The total number of seconds the disk spent doing I/O";
    /// Bytes received.
    NODE_CLASSIC_NET_RECEIVED_BYTES: Counter<u64> = "node.classic.net.received_bytes" in "By", by [CLASSIC_INTERFACE],
        only classic "node_net_received_bytes_total" "The total number of bytes received";
    /// Bytes sent.
    NODE_CLASSIC_NET_TRANSMITTED_BYTES: Counter<u64> = "node.classic.net.transmitted_bytes" in "By", by [CLASSIC_INTERFACE],
        only classic "node_net_transmitted_bytes_total" "The total number of bytes transmitted";
    /// Packets received.
    NODE_CLASSIC_NET_RECEIVED_PACKETS: Counter<u64> = "node.classic.net.received_packets" in "{packet}", by [CLASSIC_INTERFACE],
        only classic "node_net_received_packets_total" "The total number of packets received";
    /// Packets sent.
    NODE_CLASSIC_NET_TRANSMITTED_PACKETS: Counter<u64> = "node.classic.net.transmitted_packets" in "{packet}", by [CLASSIC_INTERFACE],
        only classic "node_net_transmitted_packets_total" "The total number of packets transmitted";
    /// Whether the interface is up.
    NODE_CLASSIC_NET_UP: Gauge<u64> = "node.classic.net.up" in "", by [CLASSIC_INTERFACE],
        only classic "node_net_interface_up" "Status of the interface (0:down, 1:up)";
    /// Address of the interface.
    NODE_CLASSIC_NET_IP: Gauge<u64> = "node.classic.net.ip" in "", by [CLASSIC_ADDRESS],
        only classic "node_net_interface_ip" "IP address assigned to the interface";
}
