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
    /// Entries allocated in the connection tracking table, the unconfirmed ones included.
    CONNTRACK_TABLE_USAGE: UpDownCounter = "conntrack.table.usage" in "{entry}", [Netns];
    /// Entries the table may hold; 0 means no limit.
    CONNTRACK_TABLE_LIMIT: UpDownCounter = "conntrack.table.limit" in "{entry}", [Netns];
    /// Share of the limit in use; absent where there is no limit.
    CONNTRACK_TABLE_UTILIZATION: Gauge<f64> = "conntrack.table.utilization" in "1", [Netns];
    /// Buckets of the hash table, shared by all network namespaces.
    CONNTRACK_TABLE_BUCKETS: UpDownCounter = "conntrack.table.buckets" in "{bucket}", [Netns];
    /// Value of a further connection tracking sysctl named in table.files.
    CONNTRACK_TABLE_SYSCTL: Gauge<f64> = "conntrack.table.sysctl" in "", [Netns, Sysctl];

    /// Lookups that found the tuple taken: since Linux 4.9 only NAT asking for a tuple in use, a sign of port pressure.
    CONNTRACK_FOUND: Counter<u64> = "conntrack.found" in "{lookup}", [Cpu, Netns],
        classic "conntrack_found" "Total of conntrack found";
    /// Packets that could not be tracked: not a valid packet of its protocol, or no entry to belong to.
    CONNTRACK_INVALID: Counter<u64> = "conntrack.invalid" in "{packet}", [Cpu, Netns],
        classic "conntrack_invalid" "Total of conntrack invalid";
    /// Packets that needed no lookup because they were tracked already or exempt (before Linux 5.10).
    CONNTRACK_IGNORE: Counter<u64> = "conntrack.ignore" in "{packet}", [Cpu, Netns],
        classic "conntrack_ignore" "Total of conntrack ignore";
    /// Entries put into the table by user space over netlink or by BPF; since Linux 4.9 ordinary traffic is not counted.
    CONNTRACK_INSERT: Counter<u64> = "conntrack.insert" in "{entry}", [Cpu, Netns],
        classic "conntrack_insert" "Total of conntrack insert";
    /// Entries that could not be put into the table: a clash that could not be resolved, a chain too long, an entry dying.
    CONNTRACK_INSERT_FAILED: Counter<u64> = "conntrack.insert_failed" in "{entry}", [Cpu, Netns],
        classic "conntrack_insert_failed" "Total of conntrack insert_failed";
    /// Packets dropped because no entry could be made for them (table full, clash) or because a protocol tracker said so.
    CONNTRACK_DROP: Counter<u64> = "conntrack.drop" in "{packet}", [Cpu, Netns],
        classic "conntrack_drop" "Total of conntrack drop";
    /// Entries thrown out early to make room in a full table.
    CONNTRACK_EARLY_DROP: Counter<u64> = "conntrack.early_drop" in "{entry}", [Cpu, Netns],
        classic "conntrack_early_drop" "Total of conntrack early_drop";
    /// ICMP errors that could not be matched to a connection.
    CONNTRACK_ERROR: Counter<u64> = "conntrack.error" in "{packet}", [Cpu, Netns],
        classic "conntrack_error" "Total of conntrack error";
    /// Lookups begun again because the entry they stood on moved to another chain.
    CONNTRACK_SEARCH_RESTART: Counter<u64> = "conntrack.search_restart" in "{restart}", [Cpu, Netns],
        classic "conntrack_search_restart" "Total of conntrack search_restart";
    /// Races between two packets of one new connection that were resolved without a drop (since Linux 5.10).
    CONNTRACK_CLASH_RESOLVE: Counter<u64> = "conntrack.clash_resolve" in "{clash}", [Cpu, Netns],
        classic "conntrack_clash_resolve" "Total of conntrack clash_resolve";
    /// Packets dropped because the hash chain of their entry was too long (since Linux 5.15); conntrack.drop does not count them.
    CONNTRACK_CHAINTOOLONG: Counter<u64> = "conntrack.chaintoolong" in "{packet}", [Cpu, Netns],
        classic "conntrack_chaintoolong" "Total of conntrack chaintoolong";
    /// Lookups in the table (before Linux 4.9).
    CONNTRACK_SEARCHED: Counter<u64> = "conntrack.searched" in "{lookup}", [Cpu, Netns],
        classic "conntrack_searched" "Total of conntrack searched";
    /// Entries made for new connections (before Linux 4.9).
    CONNTRACK_NEW: Counter<u64> = "conntrack.new" in "{entry}", [Cpu, Netns],
        classic "conntrack_new" "Total of conntrack new";
    /// Entries removed from the table (before Linux 4.9).
    CONNTRACK_DELETE: Counter<u64> = "conntrack.delete" in "{entry}", [Cpu, Netns],
        classic "conntrack_delete" "Total of conntrack delete";
    /// Entries moved to the list of dying ones (before Linux 4.9).
    CONNTRACK_DELETE_LIST: Counter<u64> = "conntrack.delete_list" in "{entry}", [Cpu, Netns],
        classic "conntrack_delete_list" "Total of conntrack delete_list";
    /// Connections that an expectation (FTP data, SIP media) had announced.
    CONNTRACK_EXPECT_NEW: Counter<u64> = "conntrack.expect_new" in "{connection}", [Cpu, Netns],
        classic "conntrack_expect_new" "Total of conntrack expect_new";
    /// Expectations made by the connection tracking helpers.
    CONNTRACK_EXPECT_CREATE: Counter<u64> = "conntrack.expect_create" in "{expectation}", [Cpu, Netns],
        classic "conntrack_expect_create" "Total of conntrack expect_create";
    /// Expectations removed.
    CONNTRACK_EXPECT_DELETE: Counter<u64> = "conntrack.expect_delete" in "{expectation}", [Cpu, Netns],
        classic "conntrack_expect_delete" "Total of conntrack expect_delete";
    /// Counters of a newer kernel that this table has no row for, by the kernel's word.
    CONNTRACK_UNKNOWN: Counter<u64> = "conntrack.unknown" in "", [Cpu, Field, Netns];

    /// Sockets by state; every state of TCP is there, also at 0, and those in TIME_WAIT are of both types together unless a filter is set.
    SYSTEM_NETWORK_CONNECTION_COUNT: UpDownCounter = "system.network.connection.count" in "{connection}",
        [Netns, ConnectionState, Transport, NetworkType];
    /// Smoothed round trip of TCP connections: one value for each interval in which a connection got data acknowledged, and one when it closed.
    TCP_RTT: Histogram = "tcp.rtt" in "s", grouped, buckets ROUND_TRIPS;
    /// Least round trip of TCP connections in the kernel's window of five minutes, at the same moments as tcp.rtt.
    TCP_RTT_MIN: Histogram = "tcp.rtt.min" in "s", grouped, buckets ROUND_TRIPS;
    /// Segments sent again.
    TCP_RETRANSMITS: Counter<u64> = "tcp.retransmits" in "{segment}", grouped;
    /// Segments sent and received, those without data and those sent again included.
    TCP_SEGMENTS: Counter<u64> = "tcp.segments" in "{segment}", grouped_by_io_direction;
    /// Payload sent (each byte once, however often it was sent again) and received.
    TCP_IO: Counter<u64> = "tcp.io" in "By", grouped_by_io_direction;
    /// TCP connections by what became of them since the agent looks: opened, closed in order, reset, or failed, which means never made.
    TCP_CONNECTIONS: Counter<u64> = "tcp.connections" in "{connection}", grouped_by_event;
    /// TCP connections that are established or closing at present.
    TCP_CONNECTION_COUNT: UpDownCounter = "tcp.connection.count" in "{connection}", grouped;
    /// Time in which TCP connections had data to send.
    TCP_BUSY_TIME: Counter<f64> = "tcp.busy.time" in "s", grouped;
    /// Part of the busy time in which the receiver's window (rwnd) or the send buffer (sndbuf) held a connection up.
    TCP_LIMITED_TIME: Counter<f64> = "tcp.limited.time" in "s", grouped_by_reason;
    /// Rate at which the network last delivered data of TCP connections, at the same moments as tcp.rtt.
    TCP_DELIVERY_RATE: Histogram = "tcp.delivery_rate" in "By/s", grouped, buckets RATES;
    /// Congestion window of TCP connections, at the same moments as tcp.rtt.
    TCP_CWND: Histogram = "tcp.cwnd" in "{segment}", grouped, buckets WINDOWS;
    /// Connections that wait in the accept queues of listening sockets.
    TCP_LISTEN_QUEUE_USAGE: UpDownCounter = "tcp.listen.queue.usage" in "{connection}", grouped;
    /// Connections the accept queues may hold; the kernel lets in one more before it drops.
    TCP_LISTEN_QUEUE_LIMIT: UpDownCounter = "tcp.listen.queue.limit" in "{connection}", grouped;
    /// Connection attempts that listening sockets dropped, as a rule because the accept queue was full.
    TCP_LISTEN_QUEUE_OVERFLOW: Counter<u64> = "tcp.listen.queue.overflow" in "{connection}", grouped;
    /// Datagrams that UDP sockets dropped, as a rule because the receive buffer was full.
    UDP_DROPS: Counter<u64> = "udp.drops" in "{packet}", grouped;
    /// Bytes in the queues of UDP sockets: received and not read yet, or sent and not gone yet.
    UDP_QUEUE_USAGE: UpDownCounter = "udp.queue.usage" in "By", [Netns, IoDirection, NetworkType];
    /// Segments sent again since the last cycle by the flows that are worst by sources.sockets.top.by.
    TCP_TOP_RETRANSMITS: Gauge<u64> = "tcp.top.retransmits" in "{segment}",
        [Netns, LocalAddress, LocalPort, PeerAddress, PeerPort];
    /// Smoothed round trip of the flows that are worst by sources.sockets.top.by.
    TCP_TOP_RTT: Gauge<f64> = "tcp.top.rtt" in "s", [Netns, LocalAddress, LocalPort, PeerAddress, PeerPort];
    /// Bytes not sent or not acknowledged, and not read, of the flows that are worst by sources.sockets.top.by.
    TCP_TOP_QUEUE: Gauge<u64> = "tcp.top.queue" in "By", [Netns, LocalAddress, LocalPort, PeerAddress, PeerPort];
    /// Smoothed round trip of a flow in milliseconds.
    TCP_FLOW_RTT: Gauge<f64> = "tcp.flow.rtt" in "ms", [Flow],
        only classic "tcp_rtt" "tcp socket stats perflow latency[rtt]";
    /// Congestion window of a flow.
    TCP_FLOW_CWND: Gauge<u64> = "tcp.flow.cwnd" in "{segment}", [Flow],
        only classic "tcp_cwnd" "tcp socket perflow congestionwindow stats";
    /// Rate at which the network last delivered data of a flow.
    TCP_FLOW_DELIVERY_RATE: Gauge<u64> = "tcp.flow.delivery_rate" in "By/s", [Flow],
        only classic "tcp_delivery_rate" "tcp socket perflow delivery rate in bytes a second";
    /// Segments with data that a flow received.
    TCP_FLOW_DATA_SEGS_IN: Counter<u64> = "tcp.flow.data_segs_in" in "{segment}", [Flow],
        only classic "tcp_data_segs_in" "tcp socket perflow data segments received";
    /// Segments with data that a flow sent.
    TCP_FLOW_DATA_SEGS_OUT: Counter<u64> = "tcp.flow.data_segs_out" in "{segment}", [Flow],
        only classic "tcp_data_segs_out" "tcp socket perflow data segments sent";
    /// Flows that the selection lets through, those over the limit included.
    TCP_FLOWS: Gauge<u64> = "tcp.flows" in "{flow}", [],
        only classic "tcp_flows_total" "tcp flows that the selection lets through";
    /// Smoothed round trips of the selected flows in milliseconds, at the same moments as tcp.rtt.
    TCP_FLOW_RTT_HISTOGRAM: Histogram = "tcp.flow.rtt.histogram" in "ms", [], buckets CLASSIC_ROUND_TRIPS,
        only classic "tcp_rtt_hist_ms" "tcp flowslatency outline";
    /// Flows that were selected and not shown because sources.sockets.classic.limit was reached, counted anew in every cycle.
    TCP_FLOWS_LEFT_OUT: Counter<u64> = "tcp.flows.left_out" in "{flow}", [],
        only classic "tcp_flows_left_out" "tcp flows left out because of the limit, counted anew in every collection";

    /// Sockets whose counters are remembered from one cycle to the next.
    CONNSCOPE_SOCKETS_TRACKED: UpDownCounter = "connscope.sockets.tracked" in "{socket}", [];
    /// Groups of sockets there are at present.
    CONNSCOPE_SOCKETS_GROUPS: UpDownCounter = "connscope.sockets.groups" in "{group}", [];
    /// Sockets over a limit: in ~other, or with the key track counted by state only (anew in every cycle); and those whose end says too little for the filter.
    CONNSCOPE_SOCKETS_LEFT_OUT: Counter<u64> = "connscope.sockets.left_out" in "{socket}", [Key];
    /// Sockets whose process could not be found, because it was gone, not to be looked into, or the time was up.
    CONNSCOPE_SOCKETS_UNATTRIBUTED: Counter<u64> = "connscope.sockets.unattributed" in "{socket}", [];
    /// Closed sockets the kernel told of.
    CONNSCOPE_SOCKETS_EVENTS: Counter<u64> = "connscope.sockets.events" in "{event}", [];
    /// Closed sockets the kernel wanted to tell of while the agent had no room for it; their last numbers are lost.
    CONNSCOPE_SOCKETS_EVENTS_LOST: Counter<u64> = "connscope.sockets.events.lost" in "{event}", [];

    /// Way the connection tracking statistics are read at present; always 1.
    CONNSCOPE_CONNTRACK_SOURCE: Gauge<u64> = "connscope.conntrack.source" in "", [Via];
    /// Whether a configured network namespace could be read in this cycle (1) or not (0).
    CONNSCOPE_NETNS_UP: Gauge<u64> = "connscope.netns.up" in "", [Netns, Source];
    /// Network namespaces that were found and not read because there are more than the agent reads at once.
    CONNSCOPE_NETNS_LEFT_OUT: Gauge<u64> = "connscope.netns.left_out" in "{namespace}", [Source];
    /// Whether a source answered in this cycle (1) or failed or was late (0).
    CONNSCOPE_SOURCE_UP: Gauge<u64> = "connscope.source.up" in "", [Source];
    /// How long the source took in this cycle.
    CONNSCOPE_SOURCE_DURATION: Gauge<f64> = "connscope.source.duration" in "s", [Source];
    /// Failures of a source, whole or in part, by what the operator should do about them.
    CONNSCOPE_SOURCE_ERRORS: Counter<u64> = "connscope.source.errors" in "{error}", [Reason, Source];
    /// Readings left out because their metric had reached its limit of series.
    CONNSCOPE_READINGS_LEFT_OUT: Counter<u64> = "connscope.readings.left_out" in "{reading}", [];
    /// Version of the running agent; always 1.
    CONNSCOPE_BUILD_INFO: Gauge<u64> = "connscope.build.info" in "", [Version];

    /// Data points the exporter has sent and the receiver has taken, or with error.type, has not.
    OTEL_EXPORTED: Counter<u64> = "otel.sdk.exporter.metric_data_point.exported" in "{data_point}",
        [ErrorType, ComponentName, ComponentType, ServerAddress, ServerPort];
    /// Data points handed to the exporter whose outcome is not known yet.
    OTEL_INFLIGHT: UpDownCounter = "otel.sdk.exporter.metric_data_point.inflight" in "{data_point}",
        [ComponentName, ComponentType, ServerAddress, ServerPort];
    /// How long an export took, retries included.
    OTEL_OPERATION_DURATION: Recorded = "otel.sdk.exporter.operation.duration" in "s",
        [ErrorType, ComponentName, ComponentType, ServerAddress, ServerPort], buckets SECONDS;
    /// Physical memory the agent uses.
    PROCESS_MEMORY_USAGE: UpDownCounter = "process.memory.usage" in "By", [];
    /// CPU time the agent has used, its finished child processes not included.
    PROCESS_CPU_TIME: Counter<f64> = "process.cpu.time" in "s", [CpuMode];

    /// Whether a target is reached and is as it should be (1) or not (0), after the failures and successes that it takes.
    PROBE_UP: Gauge<u64> = "probe.up" in "", probed;
    /// How long probes took from the name look-up to the last byte, those that failed with error.type.
    PROBE_DURATION: Histogram = "probe.duration" in "s", probed_by_error, buckets PROBES;
    /// How long the parts of probes took that came to their end.
    PROBE_PHASE_DURATION: Histogram = "probe.phase.duration" in "s", probed_by_phase, buckets PROBES;
    /// Probes by how they ended; the silence after a datagram is neither success nor failure.
    PROBE_RUNS: Counter<u64> = "probe.runs" in "{run}", probed_by_outcome;
    /// When a probe last succeeded, in seconds since 1970; absent as long as none has.
    PROBE_LAST_SUCCESS_TIME: Gauge<f64> = "probe.last_success.time" in "s", probed;
    /// When a target last went up or down, in seconds since 1970; absent as long as it has not.
    PROBE_LAST_CHANGE_TIME: Gauge<f64> = "probe.last_change.time" in "s", probed;
    /// How often a target went up or down.
    PROBE_STATE_CHANGES: Counter<u64> = "probe.state_changes" in "{change}", probed;
    /// Share of the time since the first probe of this process in which a target was up.
    PROBE_AVAILABILITY: Gauge<f64> = "probe.availability" in "1", probed;
    /// When the first certificate of the chain expires, in seconds since 1970; also of a chain that was refused.
    PROBE_TLS_CERTIFICATE_EXPIRY: Gauge<f64> = "probe.tls.certificate.expiry" in "s", probed;
    /// Status of the last answer over HTTP, after redirects; absent where there was none.
    PROBE_HTTP_STATUS: Gauge<u64> = "probe.http.status" in "", probed;
    /// Round trips of ICMP echoes, by the kernel's time stamps where it gives them.
    PROBE_ICMP_RTT: Histogram = "probe.icmp.rtt" in "s", probed, buckets ROUND_TRIPS;
    /// Share of the echo requests of the last probe that had no answer.
    PROBE_ICMP_LOSS: Gauge<f64> = "probe.icmp.loss" in "1", probed;
    /// Whether a target is reached (1) or not (0).
    PROBE_CONNECTION_STATUS: Gauge<u64> = "probe.connection_status" in "",
        [ClassicHost, ClassicName, ClassicPort, ClassicProtocol],
        only classic "connection_status_up" "Connection status of the socket.";
    /// Targets that are probed at present.
    CONNSCOPE_PROBES_TARGETS: UpDownCounter = "connscope.probes.targets" in "{target}", [];
    /// Targets of files or names that are not probed: over sources.probes.limit, or with the series of another.
    CONNSCOPE_PROBES_LEFT_OUT: Gauge<u64> = "connscope.probes.left_out" in "{target}", [];
    /// Probes under way.
    CONNSCOPE_PROBES_RUNNING: UpDownCounter = "connscope.probes.running" in "{probe}", [];
    /// How much later than its turn a probe began, its jitter taken off; above 0 where sources.probes.concurrency is too low.
    CONNSCOPE_PROBES_DELAY: Histogram = "connscope.probes.delay" in "s", [], buckets PROBES;
}
