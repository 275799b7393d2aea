//! The metrics of the containers.

use super::labels::{
    AGENT, APPLICATION, CLASSIC, CLASSIC_ADDRESS, CLASSIC_APPLICATION, CLASSIC_ASKED, CLASSIC_DESTINATION,
    CLASSIC_LISTEN, CLASSIC_VOLUME, DESTINATION, DISK, DISK_IO_DIRECTION, EVENT, ICMP, INFO, LEFT_OUT,
    LISTEN, NODE, NODE_CLOUD, PRESSURE, SOURCE, VOLUME, WORKLOAD,
};
use super::tcp::CONNECT_TIMES;
use crate::source::metrics::IO_DIRECTION;

crate::metrics! {
    /// Metadata of a container or systemd service: id, image, runtime, control group; always 1.
    CONTAINER_INFO: Gauge<u64> = "container.info" in "", by [INFO];
    /// Time since the first process of the container or service was started; absent once the container has ended.
    CONTAINER_UPTIME: Gauge<f64> = "container.uptime" in "s", by [WORKLOAD];
    /// Restarts of a container or service: a new control group under the same identity, or a new first process in the same group.
    CONTAINER_RESTARTS: Counter<u64> = "container.restarts" in "{restart}", by [WORKLOAD];
    /// Processes of a container that the kernel killed because its memory limit or the machine's memory was exhausted.
    CONTAINER_OOM_KILLS: Counter<u64> = "container.oom_kills" in "{process}", by [WORKLOAD];
    /// Time that threads of the container were runnable but not running, summed over all threads.
    CONTAINER_CPU_DELAY_TIME: Counter<f64> = "container.cpu.delay.time" in "s", by [WORKLOAD];
    /// Time that threads of the container waited for block devices, summed over all threads; absent while kernel.task_delayacct is 0, and without threads started while it was 0.
    CONTAINER_DISK_DELAY_TIME: Counter<f64> = "container.disk.delay.time" in "s", by [WORKLOAD];
    /// CPU time of the container, that of its former control groups included.
    CONTAINER_CPU_TIME: Counter<f64> = "container.cpu.time" in "s", by [WORKLOAD];
    /// Time for which the CPU quota of the container kept its threads from running, summed over CPUs.
    CONTAINER_CPU_THROTTLED_TIME: Counter<f64> = "container.cpu.throttled.time" in "s", by [WORKLOAD];
    /// Periods of the CPU quota in which it was used up.
    CONTAINER_CPU_THROTTLED_PERIODS: Counter<u64> = "container.cpu.throttled.periods" in "{period}", by [WORKLOAD];
    /// Periods of the CPU quota in which the container had something to run.
    CONTAINER_CPU_PERIODS: Counter<u64> = "container.cpu.periods" in "{period}", by [WORKLOAD];
    /// CPUs that the container may use, by the least quota of its control group and those above it; absent without one.
    CONTAINER_CPU_LIMIT: Gauge<f64> = "container.cpu.limit" in "{cpu}", by [WORKLOAD];
    /// Memory charged to the container, page cache and kernel memory included.
    CONTAINER_MEMORY_USAGE: UpDownCounter = "container.memory.usage" in "By", by [WORKLOAD];
    /// Memory usage less the page cache that was not used for a while (inactive_file), which the kernel can take back at once.
    CONTAINER_MEMORY_WORKING_SET: UpDownCounter = "container.memory.working_set" in "By", by [WORKLOAD];
    /// Anonymous memory of the container.
    CONTAINER_MEMORY_RSS: UpDownCounter = "container.memory.rss" in "By", by [WORKLOAD];
    /// Page cache charged to the container, shared memory and tmpfs included.
    CONTAINER_MEMORY_CACHE: UpDownCounter = "container.memory.cache" in "By", by [WORKLOAD];
    /// Memory that the container may use, by the least limit of its control group and those above it; absent without one.
    CONTAINER_MEMORY_LIMIT: UpDownCounter = "container.memory.limit" in "By", by [WORKLOAD];
    /// Time for which some or all tasks of the container were stalled for want of a CPU, memory or I/O (pressure stall information).
    CONTAINER_PRESSURE_TIME: Counter<f64> = "container.pressure.time" in "s", by [WORKLOAD, PRESSURE];
    /// Bytes that the container read from a block device and wrote to it.
    CONTAINER_DISK_IO: Counter<u64> = "container.disk.io" in "By", by [DISK, DISK_IO_DIRECTION];
    /// Requests of the container to a block device.
    CONTAINER_DISK_OPERATIONS: Counter<u64> = "container.disk.operations" in "{operation}", by [DISK, DISK_IO_DIRECTION];
    /// Type of the application in the container, by the command lines of its processes; always 1.
    CONTAINER_APPLICATION: Gauge<u64> = "container.application" in "", by [APPLICATION];
    /// Size of a file system on a block device that is mounted in the container.
    CONTAINER_FILESYSTEM_CAPACITY: UpDownCounter = "container.filesystem.capacity" in "By", by [VOLUME];
    /// Part of the file system that is in use, by whomever.
    CONTAINER_FILESYSTEM_USAGE: UpDownCounter = "container.filesystem.usage" in "By", by [VOLUME];
    /// Part of the file system that users other than root can still use.
    CONTAINER_FILESYSTEM_AVAILABLE: UpDownCounter = "container.filesystem.available" in "By", by [VOLUME];
    /// TCP connections that the container opened, by destination and event: opened, closed in order, reset, or failed (never established), with error.type.
    CONTAINER_TCP_CONNECTIONS: Counter<u64> = "container.tcp.connections" in "{connection}", by [DESTINATION, EVENT], history [from_zero, listed, divided_by Event];
    /// Open TCP connections (established or closing) that the container opened.
    CONTAINER_TCP_OPEN_CONNECTIONS: UpDownCounter = "container.tcp.open_connections" in "{connection}", by [DESTINATION];
    /// Time from connect() until the connection was established; failed attempts are not included.
    CONTAINER_TCP_CONNECT_TIME: Histogram = "container.tcp.connect.time" in "s", by [DESTINATION], buckets CONNECT_TIMES;
    /// TCP segments retransmitted on connections that the container opened, including SYNs.
    CONTAINER_TCP_RETRANSMITS: Counter<u64> = "container.tcp.retransmits" in "{segment}", by [DESTINATION], history [from_zero, listed];
    /// SYNs retransmitted on connections that the container opened, established or not; also counted in container.tcp.retransmits.
    CONTAINER_TCP_SYN_RETRANSMITS: Counter<u64> = "container.tcp.syn_retransmits" in "{segment}", by [DESTINATION], history [from_zero];
    /// TCP payload bytes sent and received on connections that the container opened; retransmitted bytes count once.
    CONTAINER_TCP_IO: Counter<u64> = "container.tcp.io" in "By", by [DESTINATION, IO_DIRECTION], history [from_zero];
    /// Mean of the smoothed round-trip times of connections that are open or ended since the last cycle; absent if there are none.
    CONTAINER_TCP_RTT: Gauge<f64> = "container.tcp.rtt" in "s", by [DESTINATION], history [listed];
    /// Round-trip time of the last ICMP echo to the address, from the network namespace of the container; absent after three requests without a reply.
    CONTAINER_ICMP_RTT: Gauge<f64> = "container.icmp.rtt" in "s", by [ICMP];
    /// Address that the container listens on or, with the attribute `proxy`, on which Docker publishes its port; always 1.
    CONTAINER_TCP_LISTEN: Gauge<u64> = "container.tcp.listen" in "", by [LISTEN];
    /// Connections established, by destination.
    CONTAINER_CLASSIC_CONNECTS: Counter<u64> = "container.classic.connects" in "{connection}", by [CLASSIC_DESTINATION],
        only classic "container_net_tcp_successful_connects_total" "Total number of successful TCP connects";
    /// Connections that were never established, whatever the reason.
    CONTAINER_CLASSIC_FAILED_CONNECTS: Counter<u64> = "container.classic.failed_connects" in "{connection}", by [CLASSIC_ASKED],
        only classic "container_net_tcp_failed_connects_total" "Total number of failed TCP connects";
    /// Open connections, by destination.
    CONTAINER_CLASSIC_ACTIVE_CONNECTIONS: UpDownCounter = "container.classic.active_connections" in "{connection}", by [CLASSIC_DESTINATION],
        only classic "container_net_tcp_active_connections" "Number of active outbound connections used by the container";
    /// Segments retransmitted, by destination.
    CONTAINER_CLASSIC_RETRANSMITS: Counter<u64> = "container.classic.retransmits" in "{segment}", by [CLASSIC_DESTINATION],
        only classic "container_net_tcp_retransmits_total" "Total number of retransmitted TCP segments";
    /// Duration of handshakes, by destination.
    CONTAINER_CLASSIC_CONNECTION_TIME: Counter<f64> = "container.classic.connection_time" in "s", by [CLASSIC_DESTINATION],
        only classic "container_net_tcp_connection_time_seconds_total" "Time spent on TCP connections";
    /// Payload sent, by destination.
    CONTAINER_CLASSIC_BYTES_SENT: Counter<u64> = "container.classic.bytes_sent" in "By", by [CLASSIC_DESTINATION],
        only classic "container_net_tcp_bytes_sent_total" "Total number of bytes sent to the peer";
    /// Payload received, by destination.
    CONTAINER_CLASSIC_BYTES_RECEIVED: Counter<u64> = "container.classic.bytes_received" in "By", by [CLASSIC_DESTINATION],
        only classic "container_net_tcp_bytes_received_total" "Total number of bytes received from the peer";
    /// Round-trip time: the minimum of the smoothed ones of the address, or with tcp.latency: icmp that of the last echo.
    CONTAINER_CLASSIC_LATENCY: Gauge<f64> = "container.classic.latency" in "s", by [CLASSIC_ADDRESS],
        only classic "container_net_latency_seconds" "Round-trip time between the container and a remote IP";
    /// 1 if a container listens on an address, 0 if it stopped less than inventory.retention ago.
    CONTAINER_CLASSIC_LISTEN: Gauge<u64> = "container.classic.listen" in "", by [CLASSIC_LISTEN],
        only classic "container_net_tcp_listen_info" "Listen address of the container";
    /// Restarts, by the identity of the container.
    CONTAINER_CLASSIC_RESTARTS: Counter<u64> = "container.classic.restarts" in "{restart}", by [CLASSIC],
        only classic "container_restarts_total" "Number of times the container was restarted";
    /// Processes that the kernel killed because memory was exhausted, by the identity of the container.
    CONTAINER_CLASSIC_OOM_KILLS: Counter<u64> = "container.classic.oom_kills" in "{process}", by [CLASSIC],
        only classic "container_oom_kills_total" "Total number of times the container was terminated by the OOM killer";
    /// Time that threads were runnable but not running, by the identity of the container.
    CONTAINER_CLASSIC_CPU_DELAY: Counter<f64> = "container.classic.cpu_delay" in "s", by [CLASSIC],
        only classic "container_resources_cpu_delay_seconds_total" "Total time duration processes of the container have been waiting for a CPU (while being runnable)";
    /// Time that threads waited for block devices, by the identity of the container.
    CONTAINER_CLASSIC_DISK_DELAY: Counter<f64> = "container.classic.disk_delay" in "s", by [CLASSIC],
        only classic "container_resources_disk_delay_seconds_total" "Total time duration processes of the container have been waiting fot I/Os to complete";
    /// CPU limit, by the identity of the container.
    CONTAINER_CLASSIC_CPU_LIMIT: Gauge<f64> = "container.classic.cpu_limit" in "{cpu}", by [CLASSIC],
        only classic "container_resources_cpu_limit_cores" "CPU limit of the container";
    /// CPU time, by the identity of the container.
    CONTAINER_CLASSIC_CPU_USAGE: Counter<f64> = "container.classic.cpu_usage" in "s", by [CLASSIC],
        only classic "container_resources_cpu_usage_seconds_total" "Total CPU time consumed by the container";
    /// Time throttled, by the identity of the container.
    CONTAINER_CLASSIC_CPU_THROTTLED: Counter<f64> = "container.classic.cpu_throttled" in "s", by [CLASSIC],
        only classic "container_resources_cpu_throttled_seconds_total" "Total time duration the container has been throttled";
    /// Memory limit, by the identity of the container.
    CONTAINER_CLASSIC_MEMORY_LIMIT: UpDownCounter = "container.classic.memory_limit" in "By", by [CLASSIC],
        only classic "container_resources_memory_limit_bytes" "Memory limit of the container";
    /// Anonymous memory, by the identity of the container.
    CONTAINER_CLASSIC_MEMORY_RSS: UpDownCounter = "container.classic.memory_rss" in "By", by [CLASSIC],
        only classic "container_resources_memory_rss_bytes" "Amount of physical memory used by the container (doesn't include page cache)";
    /// Page cache, by the identity of the container.
    CONTAINER_CLASSIC_MEMORY_CACHE: UpDownCounter = "container.classic.memory_cache" in "By", by [CLASSIC],
        only classic "container_resources_memory_cache_bytes" "Amount of page cache memory allocated by the container";
    /// Type of the application in the container; always 1.
    CONTAINER_CLASSIC_APPLICATION: Gauge<u64> = "container.classic.application" in "", by [CLASSIC_APPLICATION],
        only classic "container_application_type" "Type of the application running in the container (e.g. memcached, postgres, mysql)";
    /// Name of the machine and release of its kernel; always 1.
    CONTAINER_CLASSIC_NODE: Gauge<u64> = "container.classic.node" in "", by [NODE],
        only classic "node_info" "Meta information about the node";
    /// Size of a volume, by the identity of the container.
    CONTAINER_CLASSIC_DISK_SIZE: UpDownCounter = "container.classic.disk_size" in "By", by [CLASSIC_VOLUME],
        only classic "container_resources_disk_size_bytes" "Total capacity of the volume";
    /// What is in use of a volume, by the identity of the container.
    CONTAINER_CLASSIC_DISK_USED: UpDownCounter = "container.classic.disk_used" in "By", by [CLASSIC_VOLUME],
        only classic "container_resources_disk_used_bytes" "Used capacity of the volume";
    /// What is kept for root of a volume, by the identity of the container.
    CONTAINER_CLASSIC_DISK_RESERVED: UpDownCounter = "container.classic.disk_reserved" in "By", by [CLASSIC_VOLUME],
        only classic "container_resources_disk_reserved_bytes" "Reserved capacity of the volume";
    /// Requests to read from the disk of a volume, by the identity of the container.
    CONTAINER_CLASSIC_DISK_READS: Counter<u64> = "container.classic.disk_reads" in "{operation}", by [CLASSIC_VOLUME],
        only classic "container_resources_disk_reads_total" "Total number of reads completed successfully by the container";
    /// Bytes read from the disk of a volume, by the identity of the container.
    CONTAINER_CLASSIC_DISK_READ_BYTES: Counter<u64> = "container.classic.disk_read_bytes" in "By", by [CLASSIC_VOLUME],
        only classic "container_resources_disk_read_bytes_total" "Total number of bytes read from the disk by the container";
    /// Requests to write to the disk of a volume, by the identity of the container.
    CONTAINER_CLASSIC_DISK_WRITES: Counter<u64> = "container.classic.disk_writes" in "{operation}", by [CLASSIC_VOLUME],
        only classic "container_resources_disk_writes_total" "Total number of writes completed successfully by the container";
    /// Bytes written to the disk of a volume, by the identity of the container.
    CONTAINER_CLASSIC_DISK_WRITTEN_BYTES: Counter<u64> = "container.classic.disk_written_bytes" in "By", by [CLASSIC_VOLUME],
        only classic "container_resources_disk_written_bytes_total" "Total number of bytes written to the disk by the container";
    /// What is known of the machine in its cloud, empty where it is in none; always 1.
    CONTAINER_CLASSIC_NODE_CLOUD: Gauge<u64> = "container.classic.node_cloud" in "", by [NODE_CLOUD],
        only classic "node_cloud_info" "Meta information about the cloud instance";
    /// Version of the running agent; always 1.
    CONTAINER_CLASSIC_AGENT: Gauge<u64> = "container.classic.agent" in "", by [AGENT],
        only classic "node_agent_info" "Meta information about the agent";
    /// Containers and systemd services that are running.
    CONNSCOPE_CONTAINERS_TRACKED: UpDownCounter = "connscope.containers.tracked" in "{container}";
    /// Running containers for which no name was found in the files that the agent can read.
    CONNSCOPE_CONTAINERS_UNNAMED: UpDownCounter = "connscope.containers.unnamed" in "{container}";
    /// Items over a limit, by key: containers over inventory.limit; connections counted as ~other, not tracked, of an unknown control group, or not looked up in connection tracking; listening sockets; containers not read in time; block devices; volumes, those whose size could not be read, and those that a cycle had no time for.
    CONNSCOPE_CONTAINERS_LEFT_OUT: Counter<u64> = "connscope.containers.left_out" in "{item}", by [LEFT_OUT];
    /// Destinations that have series.
    CONNSCOPE_CONTAINERS_DESTINATIONS: UpDownCounter = "connscope.containers.destinations" in "{destination}";
    /// Lost kernel events: the ring buffer was full, or a BPF program was interrupted on its CPU.
    CONNSCOPE_CONTAINERS_EVENTS_LOST: Counter<u64> = "connscope.containers.events.lost" in "{event}";
    /// Memory of the BPF maps as the kernel reports it; for maps that allocate on demand, the memory in use.
    CONNSCOPE_CONTAINERS_KERNEL_MEMORY_USAGE: UpDownCounter = "connscope.containers.kernel.memory.usage" in "By";
    /// How each part of the source is read; always 1.
    CONNSCOPE_CONTAINERS_SOURCE: Gauge<u64> = "connscope.containers.source" in "", by [SOURCE];
}
