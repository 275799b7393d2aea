//! The names of coroot-node-agent: the 47 of its first release, and three that came later. Transcribed by hand from what it prints.

use std::collections::BTreeSet;

/// Labels of a volume, as the first release has them.
const VOLUME: &[&str] = &["mount_point", "device", "provisioner", "volume"];

/// Name, type, labels besides `container_id` and `machine_id`, and help. Those of the node have `machine_id` only.
pub(super) const THEIRS: &[(&str, &str, &[&str], &str)] = &[
    ("container_restarts_total", "counter", &[], "Number of times the container was restarted"),
    (
        "container_oom_kills_total",
        "counter",
        &[],
        "Total number of times the container was terminated by the OOM killer",
    ),
    (
        "container_resources_cpu_delay_seconds_total",
        "counter",
        &[],
        "Total time duration processes of the container have been waiting for a CPU (while being runnable)",
    ),
    (
        "container_resources_disk_delay_seconds_total",
        "counter",
        &[],
        "Total time duration processes of the container have been waiting fot I/Os to complete",
    ),
    ("container_resources_cpu_limit_cores", "gauge", &[], "CPU limit of the container"),
    (
        "container_resources_cpu_usage_seconds_total",
        "counter",
        &[],
        "Total CPU time consumed by the container",
    ),
    (
        "container_resources_cpu_throttled_seconds_total",
        "counter",
        &[],
        "Total time duration the container has been throttled",
    ),
    ("container_resources_memory_limit_bytes", "gauge", &[], "Memory limit of the container"),
    (
        "container_resources_memory_rss_bytes",
        "gauge",
        &[],
        "Amount of physical memory used by the container (doesn't include page cache)",
    ),
    (
        "container_resources_memory_cache_bytes",
        "gauge",
        &[],
        "Amount of page cache memory allocated by the container",
    ),
    ("container_resources_disk_size_bytes", "gauge", VOLUME, "Total capacity of the volume"),
    ("container_resources_disk_used_bytes", "gauge", VOLUME, "Used capacity of the volume"),
    ("container_resources_disk_reserved_bytes", "gauge", VOLUME, "Reserved capacity of the volume"),
    (
        "container_resources_disk_reads_total",
        "counter",
        VOLUME,
        "Total number of reads completed successfully by the container",
    ),
    (
        "container_resources_disk_read_bytes_total",
        "counter",
        VOLUME,
        "Total number of bytes read from the disk by the container",
    ),
    (
        "container_resources_disk_writes_total",
        "counter",
        VOLUME,
        "Total number of writes completed successfully by the container",
    ),
    (
        "container_resources_disk_written_bytes_total",
        "counter",
        VOLUME,
        "Total number of bytes written to the disk by the container",
    ),
    ("container_net_tcp_listen_info", "gauge", &["listen_addr", "proxy"], "Listen address of the container"),
    (
        "container_net_tcp_successful_connects_total",
        "counter",
        &["destination", "actual_destination"],
        "Total number of successful TCP connects",
    ),
    (
        "container_net_tcp_connection_time_seconds_total",
        "counter",
        &["destination", "actual_destination"],
        "Time spent on TCP connections",
    ),
    (
        "container_net_tcp_failed_connects_total",
        "counter",
        &["destination"],
        "Total number of failed TCP connects",
    ),
    (
        "container_net_tcp_active_connections",
        "gauge",
        &["destination", "actual_destination"],
        "Number of active outbound connections used by the container",
    ),
    (
        "container_net_tcp_retransmits_total",
        "counter",
        &["destination", "actual_destination"],
        "Total number of retransmitted TCP segments",
    ),
    (
        "container_net_latency_seconds",
        "gauge",
        &["destination_ip"],
        "Round-trip time between the container and a remote IP",
    ),
    (
        "container_net_tcp_bytes_sent_total",
        "counter",
        &["destination", "actual_destination"],
        "Total number of bytes sent to the peer",
    ),
    (
        "container_net_tcp_bytes_received_total",
        "counter",
        &["destination", "actual_destination"],
        "Total number of bytes received from the peer",
    ),
    (
        "container_application_type",
        "gauge",
        &["application_type"],
        "Type of the application running in the container (e.g. memcached, postgres, mysql)",
    ),
    ("node_info", "gauge", &["hostname", "kernel_version"], "Meta information about the node"),
    (
        "node_cloud_info",
        "gauge",
        &[
            "provider",
            "account_id",
            "instance_id",
            "instance_type",
            "instance_life_cycle",
            "region",
            "availability_zone",
            "availability_zone_id",
            "local_ipv4",
            "public_ipv4",
        ],
        "Meta information about the cloud instance",
    ),
    ("node_agent_info", "gauge", &["version"], "Meta information about the agent"),
    (
        "node_resources_cpu_usage_seconds_total",
        "counter",
        &["mode"],
        "The amount of CPU time spent in each mode",
    ),
    ("node_resources_cpu_logical_cores", "gauge", &[], "The number of logical CPU cores"),
    ("node_resources_memory_total_bytes", "gauge", &[], "The total amount of physical memory"),
    ("node_resources_memory_free_bytes", "gauge", &[], "The amount of unassigned memory"),
    ("node_resources_memory_available_bytes", "gauge", &[], "The total amount of available memory"),
    ("node_resources_memory_cached_bytes", "gauge", &[], "The amount of memory used as page cache"),
    (
        "node_resources_disk_reads_total",
        "counter",
        &["device"],
        "The total number of reads completed successfully",
    ),
    (
        "node_resources_disk_writes_total",
        "counter",
        &["device"],
        "The total number of writes completed successfully",
    ),
    (
        "node_resources_disk_read_bytes_total",
        "counter",
        &["device"],
        "The total number of bytes read from the disk",
    ),
    (
        "node_resources_disk_written_bytes_total",
        "counter",
        &["device"],
        "The total number of bytes written to the disk",
    ),
    (
        "node_resources_disk_read_time_seconds_total",
        "counter",
        &["device"],
        "The total number of seconds spent reading",
    ),
    (
        "node_resources_disk_write_time_seconds_total",
        "counter",
        &["device"],
        "The total number of seconds spent writing",
    ),
    (
        "node_resources_disk_io_time_seconds_total",
        "counter",
        &["device"],
        "The total number of seconds the disk spent doing I/O",
    ),
    ("node_net_received_bytes_total", "counter", &["interface"], "The total number of bytes received"),
    ("node_net_transmitted_bytes_total", "counter", &["interface"], "The total number of bytes transmitted"),
    ("node_net_received_packets_total", "counter", &["interface"], "The total number of packets received"),
    (
        "node_net_transmitted_packets_total",
        "counter",
        &["interface"],
        "The total number of packets transmitted",
    ),
    ("node_net_interface_up", "gauge", &["interface"], "Status of the interface (0:down, 1:up)"),
    ("node_net_interface_ip", "gauge", &["interface", "ip"], "IP address assigned to the interface"),
    (
        "container_log_messages_total",
        "counter",
        &["source", "level", "pattern_hash", "sample"],
        "Number of messages grouped by the automatically extracted repeated pattern",
    ),
];

/// Names that came with later releases; the others are the 47 of the first one.
pub(super) const LATER: &[&str] = &[
    "container_net_tcp_connection_time_seconds_total",
    "container_net_tcp_bytes_sent_total",
    "container_net_tcp_bytes_received_total",
];

/// The labels that series of a name have.
pub(super) fn labels_of(name: &str, own: &[&str]) -> BTreeSet<String> {
    let container = name.starts_with("container_").then_some("container_id");
    own.iter().copied().chain(["machine_id"]).chain(container).map(str::to_owned).collect()
}
