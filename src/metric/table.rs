//! THE TABLE: every metric the agent can report, written once.
//!
//! A row reads: one sentence, the handle and its type, the OpenTelemetry name, the UCUM unit, the labels in
//! alphabetical order of their keys and, where an exporter that connscope replaces has the same number, the name
//! and help it prints. Instruments, Prometheus names, METRICS.md and `connscope metrics` are read from here.
//!
//! The kernel's words are `struct ip_conntrack_stat` in `include/linux/netfilter/nf_conntrack_common.h`; which
//! kernel still counts which of them is in `src/source/conntrack/fields.rs`.

use super::{Classic, Counter, Gauge, Histogram, Kind, Label, Metric, Number, Recorded, UpDownCounter};
use std::marker::PhantomData;

/// Bucket bounds of durations in seconds, as the semantic conventions advise for requests.
const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Bucket bounds of round trips in seconds: from a loopback's to a satellite's, each about 2.3 times the one before.
const ROUND_TRIPS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5,
];

/// Bucket bounds of probes in seconds: from a socket of this machine to a modem that has to dial first. Few, for every
/// target has them.
const PROBES: &[f64] = &[0.000_25, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Bucket bounds of rates in bytes a second: from a modem's to 100 Gbit/s.
const RATES: &[f64] = &[1e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9, 3e9, 1.25e10];

/// Bucket bounds of congestion windows in segments; a connection begins with 10.
const WINDOWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 10.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// Bucket bounds of round trips in milliseconds where nothing else is configured: those of prometheus_ss_exporter 3.
pub const CLASSIC_ROUND_TRIPS: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0,
    1000.0,
];

/// The labels of a row. `grouped` are those of a group of sockets, as far as `sources.sockets.group_by` names them.
macro_rules! labels {
    ([$($label:ident),*]) => {
        &[$(Label::$label),*]
    };
    (grouped) => {
        labels!([Cgroup, ContainerId, Direction, Netns, Family, PeerGroup, ProcessName, ServicePort, UserId])
    };
    (grouped_by_event) => {
        labels!([Cgroup, ContainerId, Direction, Event, Netns, Family, PeerGroup, ProcessName, ServicePort, UserId])
    };
    (grouped_by_io_direction) => {
        labels!([
            Cgroup, ContainerId, Direction, Netns, IoDirection, Family, PeerGroup, ProcessName, ServicePort, UserId
        ])
    };
    (grouped_by_reason) => {
        labels!([Cgroup, ContainerId, Direction, Netns, Family, PeerGroup, ProcessName, Limited, ServicePort, UserId])
    };
    (probed) => {
        labels!([ProbePeer, ProbeTransport, NetworkType, ProbeName, ProbeServer, ProbePort])
    };
    (probed_by_error) => {
        labels!([ProbeError, ProbePeer, ProbeTransport, NetworkType, ProbeName, ProbeServer, ProbePort])
    };
    (probed_by_outcome) => {
        labels!([ProbePeer, ProbeTransport, NetworkType, Outcome, ProbeName, ProbeServer, ProbePort])
    };
    (probed_by_phase) => {
        labels!([ProbePeer, ProbeTransport, NetworkType, Phase, ProbeName, ProbeServer, ProbePort])
    };
}

macro_rules! handle {
    ($index:expr, Counter<$number:ty>) => {
        Counter::<$number>($index, PhantomData)
    };
    ($index:expr, Gauge<$number:ty>) => {
        Gauge::<$number>($index, PhantomData)
    };
    ($index:expr, UpDownCounter) => {
        UpDownCounter($index)
    };
    ($index:expr, Histogram) => {
        Histogram($index)
    };
    ($index:expr, Recorded) => {
        Recorded($index)
    };
}

macro_rules! kind {
    (Counter<u64>) => {
        (Kind::Counter, Number::U64)
    };
    (Counter<f64>) => {
        (Kind::Counter, Number::F64)
    };
    (Gauge<u64>) => {
        (Kind::Gauge, Number::U64)
    };
    (Gauge<f64>) => {
        (Kind::Gauge, Number::F64)
    };
    (UpDownCounter) => {
        (Kind::UpDownCounter, Number::I64)
    };
    (Histogram) => {
        (Kind::Histogram, Number::F64)
    };
    (Recorded) => {
        (Kind::Recorded, Number::F64)
    };
}

macro_rules! metrics {
    ($(
        #[doc = $description:literal]
        $handle:ident: $kind:ident $(<$number:ident>)? = $name:literal in $unit:literal,
            $labels:tt
            $(, buckets $buckets:ident)?
            $(, classic $classic:literal $help:literal)?
            $(, only classic $only:literal $only_help:literal)?;
    )*) => {
        /// Positions of the rows, by the name of the handle.
        #[allow(non_camel_case_types, reason = "a position is named as its handle is")]
        #[derive(Clone, Copy)]
        enum Position { $($handle),* }

        $(
            #[doc = $description]
            #[allow(clippy::doc_markdown, reason = "the same sentence is # HELP, which has no backquotes")]
            pub const $handle: $kind $(<$number>)? =
                handle!(Position::$handle as usize, $kind $(<$number>)?);
        )*

        /// Every row, in the order of this file.
        pub static METRICS: &[Metric] = &[$({
            let (kind, number): (Kind, Number) = kind!($kind $(<$number>)?);
            let classic: &[Classic] = &[
                $(Classic { name: $classic, help: $help },)?
                $(Classic { name: $only, help: $only_help },)?
            ];
            let only: &[&str] = &[$($only)?];
            let boundaries: &[&[f64]] = &[$($buckets)?];
            Metric {
                index: Position::$handle as usize,
                name: $name,
                kind,
                number,
                unit: $unit,
                labels: labels!($labels),
                description: $description.trim_ascii(),
                classic: match classic { [classic, ..] => Some(*classic), [] => None },
                only_classic: !only.is_empty(),
                boundaries: match boundaries { [boundaries, ..] => boundaries, [] => &[] },
            }
        }),*];
    };
}

metrics! {
    /// Entries in the connection tracking table, including unconfirmed ones.
    CONNTRACK_TABLE_USAGE: UpDownCounter = "conntrack.table.usage" in "{entry}", [Netns];
    /// Maximum number of entries in the table (nf_conntrack_max); 0 means no limit.
    CONNTRACK_TABLE_LIMIT: UpDownCounter = "conntrack.table.limit" in "{entry}", [Netns];
    /// Fraction of the limit that is in use; absent if there is no limit.
    CONNTRACK_TABLE_UTILIZATION: Gauge<f64> = "conntrack.table.utilization" in "1", [Netns];
    /// Buckets of the connection tracking hash table, which all network namespaces share.
    CONNTRACK_TABLE_BUCKETS: UpDownCounter = "conntrack.table.buckets" in "{bucket}", [Netns];
    /// Value of a connection tracking sysctl named in sources.conntrack.table.files.
    CONNTRACK_TABLE_SYSCTL: Gauge<f64> = "conntrack.table.sysctl" in "", [Netns, Sysctl];

    /// Lookups that found the tuple in use; since Linux 4.9 only by NAT looking for a free one, a sign that ports run out.
    CONNTRACK_FOUND: Counter<u64> = "conntrack.found" in "{lookup}", [Cpu, Netns],
        classic "conntrack_found" "Total of conntrack found";
    /// Packets that could not be tracked: invalid for their protocol, or matching no entry and unable to create one.
    CONNTRACK_INVALID: Counter<u64> = "conntrack.invalid" in "{packet}", [Cpu, Netns],
        classic "conntrack_invalid" "Total of conntrack invalid";
    /// Packets that needed no lookup because they were tracked already or exempt from tracking (before Linux 5.10).
    CONNTRACK_IGNORE: Counter<u64> = "conntrack.ignore" in "{packet}", [Cpu, Netns],
        classic "conntrack_ignore" "Total of conntrack ignore";
    /// Entries inserted by user space over netlink or by BPF; since Linux 4.9 those of ordinary traffic are not counted.
    CONNTRACK_INSERT: Counter<u64> = "conntrack.insert" in "{entry}", [Cpu, Netns],
        classic "conntrack_insert" "Total of conntrack insert";
    /// Entries that could not be inserted: an unresolved clash, a hash chain that is too long, or a dying entry.
    CONNTRACK_INSERT_FAILED: Counter<u64> = "conntrack.insert_failed" in "{entry}", [Cpu, Netns],
        classic "conntrack_insert_failed" "Total of conntrack insert_failed";
    /// Packets dropped because no entry could be created (table full, unresolved clash) or a protocol tracker rejected them.
    CONNTRACK_DROP: Counter<u64> = "conntrack.drop" in "{packet}", [Cpu, Netns],
        classic "conntrack_drop" "Total of conntrack drop";
    /// Entries evicted early to make room in a full table.
    CONNTRACK_EARLY_DROP: Counter<u64> = "conntrack.early_drop" in "{entry}", [Cpu, Netns],
        classic "conntrack_early_drop" "Total of conntrack early_drop";
    /// ICMP errors that match no tracked connection.
    CONNTRACK_ERROR: Counter<u64> = "conntrack.error" in "{packet}", [Cpu, Netns],
        classic "conntrack_error" "Total of conntrack error";
    /// Lookups restarted because an entry moved to another hash chain.
    CONNTRACK_SEARCH_RESTART: Counter<u64> = "conntrack.search_restart" in "{restart}", [Cpu, Netns],
        classic "conntrack_search_restart" "Total of conntrack search_restart";
    /// Clashes between two packets of one new connection that were resolved without a drop (since Linux 5.10).
    CONNTRACK_CLASH_RESOLVE: Counter<u64> = "conntrack.clash_resolve" in "{clash}", [Cpu, Netns],
        classic "conntrack_clash_resolve" "Total of conntrack clash_resolve";
    /// Packets dropped because the hash chain of their entry was too long (since Linux 5.15); not included in conntrack.drop.
    CONNTRACK_CHAINTOOLONG: Counter<u64> = "conntrack.chaintoolong" in "{packet}", [Cpu, Netns],
        classic "conntrack_chaintoolong" "Total of conntrack chaintoolong";
    /// Lookups in the table (before Linux 4.9).
    CONNTRACK_SEARCHED: Counter<u64> = "conntrack.searched" in "{lookup}", [Cpu, Netns],
        classic "conntrack_searched" "Total of conntrack searched";
    /// Entries created for new connections (before Linux 4.9).
    CONNTRACK_NEW: Counter<u64> = "conntrack.new" in "{entry}", [Cpu, Netns],
        classic "conntrack_new" "Total of conntrack new";
    /// Entries removed from the table (before Linux 4.9).
    CONNTRACK_DELETE: Counter<u64> = "conntrack.delete" in "{entry}", [Cpu, Netns],
        classic "conntrack_delete" "Total of conntrack delete";
    /// Entries moved to the list of dying entries (before Linux 4.9).
    CONNTRACK_DELETE_LIST: Counter<u64> = "conntrack.delete_list" in "{entry}", [Cpu, Netns],
        classic "conntrack_delete_list" "Total of conntrack delete_list";
    /// Connections that matched an expectation (FTP data, SIP media).
    CONNTRACK_EXPECT_NEW: Counter<u64> = "conntrack.expect_new" in "{connection}", [Cpu, Netns],
        classic "conntrack_expect_new" "Total of conntrack expect_new";
    /// Expectations created by connection tracking helpers.
    CONNTRACK_EXPECT_CREATE: Counter<u64> = "conntrack.expect_create" in "{expectation}", [Cpu, Netns],
        classic "conntrack_expect_create" "Total of conntrack expect_create";
    /// Expectations deleted.
    CONNTRACK_EXPECT_DELETE: Counter<u64> = "conntrack.expect_delete" in "{expectation}", [Cpu, Netns],
        classic "conntrack_expect_delete" "Total of conntrack expect_delete";
    /// Counters of a newer kernel that this version does not know, by the kernel's name.
    CONNTRACK_UNKNOWN: Counter<u64> = "conntrack.unknown" in "", [Cpu, Field, Netns];

    /// Sockets by state; every TCP state is reported, also at 0; sockets in TIME_WAIT have no network.type unless a filter is set.
    SYSTEM_NETWORK_CONNECTION_COUNT: UpDownCounter = "system.network.connection.count" in "{connection}",
        [Netns, ConnectionState, Transport, NetworkType];
    /// Smoothed round-trip time of TCP connections: one value per connection for each interval with data acknowledged, and one when it closes.
    TCP_RTT: Histogram = "tcp.rtt" in "s", grouped, buckets ROUND_TRIPS;
    /// Minimum round-trip time of TCP connections in the kernel's window (net.ipv4.tcp_min_rtt_wlen, 5 minutes), recorded when tcp.rtt is.
    TCP_RTT_MIN: Histogram = "tcp.rtt.min" in "s", grouped, buckets ROUND_TRIPS;
    /// TCP segments retransmitted, including SYNs.
    TCP_RETRANSMITS: Counter<u64> = "tcp.retransmits" in "{segment}", grouped;
    /// TCP segments sent and received, including retransmitted ones and those without data.
    TCP_SEGMENTS: Counter<u64> = "tcp.segments" in "{segment}", grouped_by_io_direction;
    /// TCP payload bytes sent, each counted once however often it was retransmitted, and received.
    TCP_IO: Counter<u64> = "tcp.io" in "By", grouped_by_io_direction;
    /// TCP connections by event: opened, closed in order, reset, or failed, which means never established.
    TCP_CONNECTIONS: Counter<u64> = "tcp.connections" in "{connection}", grouped_by_event;
    /// Open TCP connections: established or closing.
    TCP_OPEN_CONNECTIONS: UpDownCounter = "tcp.open_connections" in "{connection}", grouped;
    /// Time in which TCP connections had data to send.
    TCP_BUSY_TIME: Counter<f64> = "tcp.busy.time" in "s", grouped;
    /// Part of tcp.busy.time in which the receiver's window (rwnd) or the send buffer (sndbuf) limited a connection.
    TCP_LIMITED_TIME: Counter<f64> = "tcp.limited.time" in "s", grouped_by_reason;
    /// Most recent delivery rate of TCP connections, recorded when tcp.rtt is.
    TCP_DELIVERY_RATE: Histogram = "tcp.delivery_rate" in "By/s", grouped, buckets RATES;
    /// Congestion window of TCP connections, recorded when tcp.rtt is.
    TCP_CWND: Histogram = "tcp.cwnd" in "{segment}", grouped, buckets WINDOWS;
    /// Connections waiting in the accept queues of listening sockets.
    TCP_LISTEN_QUEUE_USAGE: UpDownCounter = "tcp.listen.queue.usage" in "{connection}", grouped;
    /// Maximum length of the accept queues (the backlog); the kernel admits one more before it drops.
    TCP_LISTEN_QUEUE_LIMIT: UpDownCounter = "tcp.listen.queue.limit" in "{connection}", grouped;
    /// Connection attempts dropped by listening sockets, usually because the accept queue was full.
    TCP_LISTEN_QUEUE_OVERFLOW: Counter<u64> = "tcp.listen.queue.overflow" in "{connection}", grouped;
    /// Datagrams dropped by UDP sockets, usually because the receive buffer was full.
    UDP_DROPS: Counter<u64> = "udp.drops" in "{packet}", grouped;
    /// Bytes in the queues of UDP sockets: received and not read yet, or sent and not transmitted yet.
    UDP_QUEUE_USAGE: UpDownCounter = "udp.queue.usage" in "By", [Netns, IoDirection, NetworkType];
    /// Segments retransmitted since the previous cycle, for the flows selected by sources.sockets.top.
    TCP_TOP_RETRANSMITS: Gauge<u64> = "tcp.top.retransmits" in "{segment}",
        [Netns, LocalAddress, LocalPort, PeerAddress, PeerPort];
    /// Smoothed round-trip time of the flows selected by sources.sockets.top.
    TCP_TOP_RTT: Gauge<f64> = "tcp.top.rtt" in "s", [Netns, LocalAddress, LocalPort, PeerAddress, PeerPort];
    /// Bytes unsent, unacknowledged or unread, for the flows selected by sources.sockets.top.
    TCP_TOP_QUEUE: Gauge<u64> = "tcp.top.queue" in "By", [Netns, LocalAddress, LocalPort, PeerAddress, PeerPort];
    /// Smoothed round-trip time of a flow in milliseconds.
    TCP_FLOW_RTT: Gauge<f64> = "tcp.flow.rtt" in "ms", [Flow],
        only classic "tcp_rtt" "tcp socket stats perflow latency[rtt]";
    /// Congestion window of a flow.
    TCP_FLOW_CWND: Gauge<u64> = "tcp.flow.cwnd" in "{segment}", [Flow],
        only classic "tcp_cwnd" "tcp socket perflow congestionwindow stats";
    /// Most recent delivery rate of a flow.
    TCP_FLOW_DELIVERY_RATE: Gauge<u64> = "tcp.flow.delivery_rate" in "By/s", [Flow],
        only classic "tcp_delivery_rate" "tcp socket perflow delivery rate in bytes a second";
    /// Data segments received by a flow.
    TCP_FLOW_DATA_SEGS_IN: Counter<u64> = "tcp.flow.data_segs_in" in "{segment}", [Flow],
        only classic "tcp_data_segs_in" "tcp socket perflow data segments received";
    /// Data segments sent by a flow.
    TCP_FLOW_DATA_SEGS_OUT: Counter<u64> = "tcp.flow.data_segs_out" in "{segment}", [Flow],
        only classic "tcp_data_segs_out" "tcp socket perflow data segments sent";
    /// Flows that match the selection, including those over the limit.
    TCP_FLOWS: Gauge<u64> = "tcp.flows" in "{flow}", [],
        only classic "tcp_flows_total" "tcp flows that the selection lets through";
    /// Smoothed round-trip time of the selected flows in milliseconds, recorded when tcp.rtt is.
    TCP_FLOW_RTT_HISTOGRAM: Histogram = "tcp.flow.rtt.histogram" in "ms", [], buckets CLASSIC_ROUND_TRIPS,
        only classic "tcp_rtt_hist_ms" "tcp flowslatency outline";
    /// Selected flows not shown because sources.sockets.classic.limit was reached, counted in every cycle.
    TCP_FLOWS_LEFT_OUT: Counter<u64> = "tcp.flows.left_out" in "{flow}", [],
        only classic "tcp_flows_left_out" "tcp flows left out because of the limit, counted anew in every collection";

    /// Sockets whose counters are kept from one cycle to the next.
    CONNSCOPE_SOCKETS_TRACKED: UpDownCounter = "connscope.sockets.tracked" in "{socket}", [];
    /// Groups of sockets.
    CONNSCOPE_SOCKETS_GROUPS: UpDownCounter = "connscope.sockets.groups" in "{group}", [];
    /// Sockets over a limit, by key: grouped as ~other, counted by state only (key track, in every cycle), or closed with too little known for the filter (key filter).
    CONNSCOPE_SOCKETS_LEFT_OUT: Counter<u64> = "connscope.sockets.left_out" in "{socket}", [Key];
    /// Sockets whose process was not found: it has exited, cannot be inspected, or the time budget was exceeded.
    CONNSCOPE_SOCKETS_UNATTRIBUTED: Counter<u64> = "connscope.sockets.unattributed" in "{socket}", [];
    /// Socket destroy events received from the kernel.
    CONNSCOPE_SOCKETS_EVENTS: Counter<u64> = "connscope.sockets.events" in "{event}", [];
    /// Lost socket destroy events: the receive buffer was full, and the last counts of those sockets are missing.
    CONNSCOPE_SOCKETS_EVENTS_LOST: Counter<u64> = "connscope.sockets.events.lost" in "{event}", [];

    /// How the connection tracking statistics are read; always 1.
    CONNSCOPE_CONNTRACK_SOURCE: Gauge<u64> = "connscope.conntrack.source" in "", [Via];
    /// 1 if a configured network namespace was read in this cycle, 0 if not.
    CONNSCOPE_NETNS_UP: Gauge<u64> = "connscope.netns.up" in "", [Netns, Source];
    /// Network namespaces not read because there are more than the limit.
    CONNSCOPE_NETNS_LEFT_OUT: Gauge<u64> = "connscope.netns.left_out" in "{namespace}", [Source];
    /// 1 if the source answered in this cycle, 0 if it failed or was late.
    CONNSCOPE_SOURCE_UP: Gauge<u64> = "connscope.source.up" in "", [Source];
    /// Time the source took in this cycle.
    CONNSCOPE_SOURCE_DURATION: Gauge<f64> = "connscope.source.duration" in "s", [Source];
    /// Errors of a source, complete or partial, by reason.
    CONNSCOPE_SOURCE_ERRORS: Counter<u64> = "connscope.source.errors" in "{error}", [Reason, Source];
    /// Readings over the limit: not reported because their metric had reached its limit of series.
    CONNSCOPE_READINGS_LEFT_OUT: Counter<u64> = "connscope.readings.left_out" in "{reading}", [];
    /// Version of the running agent; always 1.
    CONNSCOPE_BUILD_INFO: Gauge<u64> = "connscope.build.info" in "", [Version];

    /// Data points whose export has finished: accepted by the receiver, or failed or rejected, with error.type.
    OTEL_EXPORTED: Counter<u64> = "otel.sdk.exporter.metric_data_point.exported" in "{data_point}",
        [ErrorType, ComponentName, ComponentType, ServerAddress, ServerPort];
    /// Data points passed to the exporter whose export has not finished.
    OTEL_INFLIGHT: UpDownCounter = "otel.sdk.exporter.metric_data_point.inflight" in "{data_point}",
        [ComponentName, ComponentType, ServerAddress, ServerPort];
    /// Duration of an export, including retries.
    OTEL_OPERATION_DURATION: Recorded = "otel.sdk.exporter.operation.duration" in "s",
        [ErrorType, ComponentName, ComponentType, ServerAddress, ServerPort], buckets SECONDS;
    /// Physical memory used by the agent.
    PROCESS_MEMORY_USAGE: UpDownCounter = "process.memory.usage" in "By", [];
    /// CPU time used by the agent, without its child processes.
    PROCESS_CPU_TIME: Counter<f64> = "process.cpu.time" in "s", [CpuMode];

    /// 1 if the target is up, 0 if down, after failures_before_down and successes_before_up.
    PROBE_UP: Gauge<u64> = "probe.up" in "", probed;
    /// Duration of probes from name lookup to the last byte; failed probes have error.type.
    PROBE_DURATION: Histogram = "probe.duration" in "s", probed_by_error, buckets PROBES;
    /// Duration of the phases of probes that completed.
    PROBE_PHASE_DURATION: Histogram = "probe.phase.duration" in "s", probed_by_phase, buckets PROBES;
    /// Probes by outcome; a datagram without an answer is neither a success nor a failure.
    PROBE_RUNS: Counter<u64> = "probe.runs" in "{run}", probed_by_outcome;
    /// Unix time of the last successful probe; absent before the first.
    PROBE_LAST_SUCCESS_TIME: Gauge<f64> = "probe.last_success.time" in "s", probed;
    /// Unix time at which the target last went up or down; absent before the first change.
    PROBE_LAST_CHANGE_TIME: Gauge<f64> = "probe.last_change.time" in "s", probed;
    /// Number of times the target went up or down.
    PROBE_STATE_CHANGES: Counter<u64> = "probe.state_changes" in "{change}", probed;
    /// Fraction of the time since its first probe in which the target was up.
    PROBE_AVAILABILITY: Gauge<f64> = "probe.availability" in "1", probed;
    /// Unix time at which the first certificate of the chain expires, also if the chain was rejected.
    PROBE_TLS_CERTIFICATE_EXPIRY: Gauge<f64> = "probe.tls.certificate.expiry" in "s", probed;
    /// HTTP status code of the last response, after redirects; absent if there was none.
    PROBE_HTTP_STATUS: Gauge<u64> = "probe.http.status" in "", probed;
    /// Round-trip time of ICMP echoes, by kernel timestamps where available.
    PROBE_ICMP_RTT: Histogram = "probe.icmp.rtt" in "s", probed, buckets ROUND_TRIPS;
    /// Fraction of the echo requests of the last probe that were not answered.
    PROBE_ICMP_LOSS: Gauge<f64> = "probe.icmp.loss" in "1", probed;
    /// 1 if the target is reachable, 0 if not.
    PROBE_CONNECTION_STATUS: Gauge<u64> = "probe.connection_status" in "",
        [ClassicHost, ClassicName, ClassicPort, ClassicProtocol],
        only classic "connection_status_up" "Connection status of the socket.";
    /// Targets that are probed.
    CONNSCOPE_PROBES_TARGETS: UpDownCounter = "connscope.probes.targets" in "{target}", [];
    /// Targets from files or DNS that are not probed: over sources.probes.limit, or with the same series as another target.
    CONNSCOPE_PROBES_LEFT_OUT: Gauge<u64> = "connscope.probes.left_out" in "{target}", [];
    /// Probes in flight.
    CONNSCOPE_PROBES_RUNNING: UpDownCounter = "connscope.probes.running" in "{probe}", [];
    /// Delay of probes after their scheduled time, jitter subtracted; above 0 if sources.probes.concurrency is too low.
    CONNSCOPE_PROBES_DELAY: Histogram = "connscope.probes.delay" in "s", [], buckets PROBES;
}
