//! THE TABLE: every metric the agent can report, written once.
//!
//! A row reads: one sentence, the handle and its type, the OpenTelemetry name, the UCUM unit, the labels in
//! alphabetical order of their keys and, where an exporter that connscope replaces has the same number, the name
//! and help it prints. Instruments, Prometheus names, METRICS.md and `connscope metrics` are read from here.
//!
//! The kernel's words are `struct ip_conntrack_stat` in `include/linux/netfilter/nf_conntrack_common.h`; which
//! kernel still counts which of them is in `src/source/conntrack/fields.rs`.

use super::{Classic, Counter, Gauge, Histogram, Kind, Label, Metric, Number, UpDownCounter};
use std::marker::PhantomData;

/// Bucket bounds of durations in seconds, as the semantic conventions advise for requests.
const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

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
}

macro_rules! kind {
    (Counter<u64>) => {
        (Kind::Counter, Number::U64, &[])
    };
    (Counter<f64>) => {
        (Kind::Counter, Number::F64, &[])
    };
    (Gauge<u64>) => {
        (Kind::Gauge, Number::U64, &[])
    };
    (Gauge<f64>) => {
        (Kind::Gauge, Number::F64, &[])
    };
    (UpDownCounter) => {
        (Kind::UpDownCounter, Number::I64, &[])
    };
    (Histogram) => {
        (Kind::Histogram, Number::F64, SECONDS)
    };
}

macro_rules! metrics {
    ($(
        #[doc = $description:literal]
        $handle:ident: $kind:ident $(<$number:ident>)? = $name:literal in $unit:literal,
            [$($label:ident),*] $(, classic $classic:literal $help:literal)?;
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
            let (kind, number, boundaries): (Kind, Number, &'static [f64]) = kind!($kind $(<$number>)?);
            #[allow(unused_mut, unused_assignments, reason = "most rows have no classic name")]
            let mut classic: Option<Classic> = None;
            $(classic = Some(Classic { name: $classic, help: $help });)?
            Metric {
                index: Position::$handle as usize,
                name: $name,
                kind,
                number,
                unit: $unit,
                labels: &[$(Label::$label),*],
                description: $description.trim_ascii(),
                classic,
                boundaries,
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

    /// Way the connection tracking statistics are read at present; always 1.
    CONNSCOPE_CONNTRACK_SOURCE: Gauge<u64> = "connscope.conntrack.source" in "", [Via];
    /// Whether a configured network namespace could be read in this cycle (1) or not (0).
    CONNSCOPE_NETNS_UP: Gauge<u64> = "connscope.netns.up" in "", [Netns];
    /// Network namespaces that were found and not read because there are more than the agent reads at once.
    CONNSCOPE_NETNS_LEFT_OUT: Gauge<u64> = "connscope.netns.left_out" in "{namespace}", [];
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
    OTEL_OPERATION_DURATION: Histogram = "otel.sdk.exporter.operation.duration" in "s",
        [ErrorType, ComponentName, ComponentType, ServerAddress, ServerPort];
    /// Physical memory the agent uses.
    PROCESS_MEMORY_USAGE: UpDownCounter = "process.memory.usage" in "By", [];
    /// CPU time the agent has used, its finished child processes not included.
    PROCESS_CPU_TIME: Counter<f64> = "process.cpu.time" in "s", [CpuMode];
}
