//! The metrics of the source `conntrack`.
//!
//! The kernel's counters are `struct ip_conntrack_stat` in `include/linux/netfilter/nf_conntrack_common.h`; `fields`
//! has the releases that maintain them.

use crate::metric::{Label, LabelSet};
use crate::source::metrics::NETNS;

/// Maximum number of unknown counters of newer kernels that are reported.
pub const UNKNOWN_FIELDS: usize = 16;
/// Maximum number of sysctl files in `table.files`.
pub const SYSCTL_FILES: usize = 64;
/// Minimum of the bound for CPUs: a `conntrack` program that answers for another machine (a test, a replay) may have
/// more CPUs than this one.
const LEAST_SERIES: usize = 1024;

/// The CPU of a counter.
pub static CPU: LabelSet =
    LabelSet::configured(&[Label::Cpu], "possible CPUs of the machine").least(LEAST_SERIES);

/// The kernel's name of an unknown counter.
pub static FIELD: LabelSet = LabelSet::fixed(&[Label::Field], UNKNOWN_FIELDS);

/// Name of a sysctl file.
pub static SYSCTL: LabelSet = LabelSet::fixed(&[Label::Sysctl], SYSCTL_FILES);

/// Maximum number of helpers that are told apart, with `~other`.
pub const HELPERS: usize = 32;

/// Name of a connection tracking helper.
pub static HELPER: LabelSet = LabelSet::fixed(&[Label::Helper], HELPERS);

/// `new` or `destroyed`.
pub static EVENT: LabelSet = LabelSet::fixed(&[Label::Kind], 2);

/// Bucket bounds of lifetimes in seconds, from a refused connection to the default time-out of an established one.
const LIFETIMES: &[f64] =
    &[0.01, 0.1, 1.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 432_000.0];
/// Bucket bounds of the bytes of a connection.
const BYTES: &[f64] = &[100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10];
/// Bucket bounds of the packets of a connection.
const PACKETS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1e3, 1e4, 1e5, 1e6];

/// The method by which the statistics are read.
pub static VIA: LabelSet = LabelSet::fixed(&[Label::Via], 3);

/// Entries with the same protocol, state and other attributes, in a network namespace.
pub static ENTRY: LabelSet = LabelSet::configured(
    &[
        Label::Netns,
        Label::Transport,
        Label::ConnectionState,
        Label::EntryStatus,
        Label::Nat,
        Label::Zone,
        Label::NetworkType,
    ],
    "`sources.conntrack.entries.limit`, and one more for each network namespace",
);

/// Protocol of entries: the eight that the kernel has names for, and `~other`.
pub static PROTOCOL: LabelSet = LabelSet::fixed(&[Label::Transport], 9);

/// Direction of packets: `original` or `reply`.
pub static ENTRY_DIRECTION: LabelSet = LabelSet::fixed(&[Label::Direction], 2);

/// Kind of a ranking: `source`, `destination`, `port`, `pair` or `snat`.
pub static RANKING: LabelSet = LabelSet::fixed(&[Label::Kind], 5);

/// What the bound of a ranking is.
const TOP: &str = "`sources.conntrack.entries.top`";

/// Sources with the most entries.
pub static TOP_SOURCE: LabelSet = LabelSet::configured(&[Label::Netns, Label::SourceAddress], TOP);

/// Destinations with the most entries.
pub static TOP_DESTINATION: LabelSet = LabelSet::configured(&[Label::Netns, Label::DestinationAddress], TOP);

/// Destination ports with the most entries.
pub static TOP_PORT: LabelSet =
    LabelSet::configured(&[Label::Netns, Label::Transport, Label::DestinationPort], TOP);

/// Pairs of source and destination with the most entries.
pub static TOP_PAIR: LabelSet =
    LabelSet::configured(&[Label::Netns, Label::SourceAddress, Label::DestinationAddress], TOP);

/// Translated source addresses, each with the destination towards which most of its ports are in use.
pub static SNAT: LabelSet = LabelSet::configured(
    &[
        Label::Netns,
        Label::Transport,
        Label::SourceAddress,
        Label::DestinationAddress,
        Label::DestinationPort,
    ],
    TOP,
);

/// Bucket bounds of time-outs in seconds: those of the kernel's defaults are among them, up to the five days of TCP.
pub const TIMEOUTS: &[f64] = &[
    1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1800.0, 3600.0, 21_600.0, 86_400.0, 345_600.0,
    432_000.0,
];

/// Bucket bounds of ages in seconds.
pub const AGES: &[f64] = &[
    0.1,
    1.0,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1800.0,
    3600.0,
    21_600.0,
    86_400.0,
    432_000.0,
    2_592_000.0,
];

crate::metrics! {
    /// Entries in the connection tracking table, including unconfirmed ones.
    CONNTRACK_TABLE_USAGE: UpDownCounter = "conntrack.table.usage" in "{entry}", by [NETNS];
    /// Maximum number of entries in the table (nf_conntrack_max); 0 means no limit.
    CONNTRACK_TABLE_LIMIT: UpDownCounter = "conntrack.table.limit" in "{entry}", by [NETNS];
    /// Fraction of the limit that is in use; absent if there is no limit.
    CONNTRACK_TABLE_UTILIZATION: Gauge<f64> = "conntrack.table.utilization" in "1", by [NETNS];
    /// Buckets of the connection tracking hash table, which all network namespaces share.
    CONNTRACK_TABLE_BUCKETS: UpDownCounter = "conntrack.table.buckets" in "{bucket}", by [NETNS];
    /// Entries in the table for each bucket of the hash table; an entry is in two chains, so a chain is twice as long on average.
    CONNTRACK_TABLE_LOAD: Gauge<f64> = "conntrack.table.load" in "1", by [NETNS];
    /// Time until the table is full if it grows as in the last 15 minutes; absent if it does not grow, would take more than a week, or there are less than 5 minutes of data.
    CONNTRACK_TABLE_TIME_TO_FULL: Gauge<f64> = "conntrack.table.time_to_full" in "s", by [NETNS];
    /// Memory of an entry in the kernel's slab cache, without its extensions (NAT, accounting, time stamps, events).
    CONNTRACK_TABLE_ENTRY_SIZE: Gauge<u64> = "conntrack.table.entry.size" in "By";
    /// Memory of a full table: as many entries as the limit allows and the buckets, without the extensions of entries.
    CONNTRACK_TABLE_MEMORY_LIMIT: UpDownCounter = "conntrack.table.memory.limit" in "By";
    /// Fraction of the machine's memory that a full table takes.
    CONNTRACK_TABLE_MEMORY_SHARE: Gauge<f64> = "conntrack.table.memory.share" in "1";
    /// Expectations that wait for their connection, by the helper that created them; absent while there are none.
    CONNTRACK_HELPER: UpDownCounter = "conntrack.helper" in "{expectation}", by [HELPER, NETNS];
    /// Entries created and destroyed, by the kernel's events; only with sources.conntrack.events: count.
    CONNTRACK_EVENTS: Counter<u64> = "conntrack.events" in "{entry}", by [EVENT, NETNS], history [from_zero];
    /// Estimate of the entries created and destroyed, which is too low: the changes of their number between two cycles; absent where conntrack.events counts them.
    CONNTRACK_EVENTS_ESTIMATE: Counter<u64> = "conntrack.events.estimate" in "{entry}", by [EVENT, NETNS], history [from_zero];
    /// How long destroyed entries existed; only where nf_conntrack_timestamp is on.
    CONNTRACK_DESTROYED_LIFETIME: Histogram = "conntrack.destroyed.lifetime" in "s", by [PROTOCOL, NETNS], buckets LIFETIMES;
    /// Bytes of destroyed entries, both directions; only where nf_conntrack_acct is on.
    CONNTRACK_DESTROYED_SIZE: Histogram = "conntrack.destroyed.size" in "By", by [PROTOCOL, NETNS], buckets BYTES;
    /// Packets of destroyed entries, both directions; only where nf_conntrack_acct is on.
    CONNTRACK_DESTROYED_PACKETS: Histogram = "conntrack.destroyed.packets" in "{packet}", by [PROTOCOL, NETNS], buckets PACKETS;
    /// Events of connection tracking lost because the receive buffer was full (ENOBUFS).
    CONNSCOPE_CONNTRACK_EVENTS_LOST: Counter<u64> = "connscope.conntrack.events.lost" in "{event}", by [NETNS], history [from_zero];
    /// Value of a connection tracking sysctl: the time-outs, and those named in sources.conntrack.table.files.
    CONNTRACK_TABLE_SYSCTL: Gauge<f64> = "conntrack.table.sysctl" in "", by [NETNS, SYSCTL];
    /// Lookups that found the tuple in use; since Linux 4.9 only by NAT in search of a free one: if it grows, ports are running out.
    CONNTRACK_FOUND: Counter<u64> = "conntrack.found" in "{lookup}", by [CPU, NETNS],
        classic "conntrack_found" "Total of conntrack found";
    /// Packets that could not be tracked: invalid for their protocol, or matching no entry and unable to create one.
    CONNTRACK_INVALID: Counter<u64> = "conntrack.invalid" in "{packet}", by [CPU, NETNS],
        classic "conntrack_invalid" "Total of conntrack invalid";
    /// Packets that needed no lookup because they were already tracked or exempt from tracking (before Linux 5.10).
    CONNTRACK_IGNORE: Counter<u64> = "conntrack.ignore" in "{packet}", by [CPU, NETNS],
        classic "conntrack_ignore" "Total of conntrack ignore";
    /// Entries inserted by user space over netlink or by BPF; since Linux 4.9 those of ordinary traffic are not counted.
    CONNTRACK_INSERT: Counter<u64> = "conntrack.insert" in "{entry}", by [CPU, NETNS],
        classic "conntrack_insert" "Total of conntrack insert";
    /// Entries that could not be inserted: an unresolved clash, a hash chain that is too long, or a dying entry.
    CONNTRACK_INSERT_FAILED: Counter<u64> = "conntrack.insert_failed" in "{entry}", by [CPU, NETNS],
        classic "conntrack_insert_failed" "Total of conntrack insert_failed";
    /// Packets dropped because no entry could be created (table full, unresolved clash) or a protocol tracker rejected them.
    CONNTRACK_DROP: Counter<u64> = "conntrack.drop" in "{packet}", by [CPU, NETNS],
        classic "conntrack_drop" "Total of conntrack drop";
    /// Entries evicted early to make room in a full table.
    CONNTRACK_EARLY_DROP: Counter<u64> = "conntrack.early_drop" in "{entry}", by [CPU, NETNS],
        classic "conntrack_early_drop" "Total of conntrack early_drop";
    /// ICMP errors that match no tracked connection.
    CONNTRACK_ERROR: Counter<u64> = "conntrack.error" in "{packet}", by [CPU, NETNS],
        classic "conntrack_error" "Total of conntrack error";
    /// Lookups restarted because an entry moved to another hash chain.
    CONNTRACK_SEARCH_RESTART: Counter<u64> = "conntrack.search_restart" in "{restart}", by [CPU, NETNS],
        classic "conntrack_search_restart" "Total of conntrack search_restart";
    /// Clashes between two packets of one new connection that were resolved without a drop (since Linux 5.10).
    CONNTRACK_CLASH_RESOLVE: Counter<u64> = "conntrack.clash_resolve" in "{clash}", by [CPU, NETNS],
        classic "conntrack_clash_resolve" "Total of conntrack clash_resolve";
    /// Packets dropped because the hash chain of their entry was too long (since Linux 5.15); not included in conntrack.drop.
    CONNTRACK_CHAINTOOLONG: Counter<u64> = "conntrack.chaintoolong" in "{packet}", by [CPU, NETNS],
        classic "conntrack_chaintoolong" "Total of conntrack chaintoolong";
    /// Lookups in the table (before Linux 4.9).
    CONNTRACK_SEARCHED: Counter<u64> = "conntrack.searched" in "{lookup}", by [CPU, NETNS],
        classic "conntrack_searched" "Total of conntrack searched";
    /// Entries created for new connections (before Linux 4.9).
    CONNTRACK_NEW: Counter<u64> = "conntrack.new" in "{entry}", by [CPU, NETNS],
        classic "conntrack_new" "Total of conntrack new";
    /// Entries removed from the table (before Linux 4.9).
    CONNTRACK_DELETE: Counter<u64> = "conntrack.delete" in "{entry}", by [CPU, NETNS],
        classic "conntrack_delete" "Total of conntrack delete";
    /// Entries moved to the list of dying entries (before Linux 4.9).
    CONNTRACK_DELETE_LIST: Counter<u64> = "conntrack.delete_list" in "{entry}", by [CPU, NETNS],
        classic "conntrack_delete_list" "Total of conntrack delete_list";
    /// Connections that matched an expectation (FTP data, SIP media).
    CONNTRACK_EXPECT_NEW: Counter<u64> = "conntrack.expect_new" in "{connection}", by [CPU, NETNS],
        classic "conntrack_expect_new" "Total of conntrack expect_new";
    /// Expectations created by connection tracking helpers.
    CONNTRACK_EXPECT_CREATE: Counter<u64> = "conntrack.expect_create" in "{expectation}", by [CPU, NETNS],
        classic "conntrack_expect_create" "Total of conntrack expect_create";
    /// Expectations deleted.
    CONNTRACK_EXPECT_DELETE: Counter<u64> = "conntrack.expect_delete" in "{expectation}", by [CPU, NETNS],
        classic "conntrack_expect_delete" "Total of conntrack expect_delete";
    /// Counters of a newer kernel that this version does not know, by the kernel's name.
    CONNTRACK_UNKNOWN: Counter<u64> = "conntrack.unknown" in "", by [CPU, FIELD, NETNS];
    /// Entries that the last dump of the table found.
    CONNTRACK_ENTRIES: UpDownCounter = "conntrack.entries" in "{entry}", by [ENTRY];
    /// Time until entries end if no packet comes: every dump of the table records each entry once.
    CONNTRACK_ENTRIES_TIMEOUT: Histogram = "conntrack.entries.timeout" in "s", by [NETNS, PROTOCOL], buckets TIMEOUTS;
    /// Time since entries were created, if nf_conntrack_timestamp is on: every dump of the table records each entry once.
    CONNTRACK_ENTRIES_AGE: Histogram = "conntrack.entries.age" in "s", by [NETNS, PROTOCOL], buckets AGES;
    /// Packets of the entries that the last dump of the table found, if nf_conntrack_acct is on.
    CONNTRACK_ENTRIES_PACKETS: UpDownCounter = "conntrack.entries.packets" in "{packet}", by [ENTRY_DIRECTION, NETNS, PROTOCOL];
    /// Bytes of the entries that the last dump of the table found, if nf_conntrack_acct is on.
    CONNTRACK_ENTRIES_IO: UpDownCounter = "conntrack.entries.io" in "By", by [ENTRY_DIRECTION, NETNS, PROTOCOL];
    /// Entries of the source addresses with the most of them (`top_by: [source]`).
    CONNTRACK_ENTRIES_TOP_SOURCES: Gauge<u64> = "conntrack.entries.top.sources" in "{entry}", by [TOP_SOURCE];
    /// Entries of the destination addresses with the most of them, before translation (`top_by: [destination]`).
    CONNTRACK_ENTRIES_TOP_DESTINATIONS: Gauge<u64> = "conntrack.entries.top.destinations" in "{entry}", by [TOP_DESTINATION];
    /// Entries of the destination ports with the most of them, before translation (`top_by: [port]`).
    CONNTRACK_ENTRIES_TOP_PORTS: Gauge<u64> = "conntrack.entries.top.ports" in "{entry}", by [TOP_PORT];
    /// Entries of the pairs of source and destination with the most of them (`top_by: [pair]`).
    CONNTRACK_ENTRIES_TOP_PAIRS: Gauge<u64> = "conntrack.entries.top.pairs" in "{entry}", by [TOP_PAIR];
    /// Entries by which a number of a ranking may be too low: 0 unless there are more than 8192 sources, destinations or pairs.
    CONNTRACK_ENTRIES_TOP_ERROR: Gauge<u64> = "conntrack.entries.top.error" in "{entry}", by [NETNS, RANKING];
    /// Ports of a translated source address in use towards the destination with the fewest free ones.
    CONNTRACK_SNAT_PORTS_USAGE: UpDownCounter = "conntrack.snat.ports.usage" in "{port}", by [SNAT];
    /// Ports that the rule of source NAT, or the kernel without a range in the rule, chooses from.
    CONNTRACK_SNAT_PORTS_LIMIT: UpDownCounter = "conntrack.snat.ports.limit" in "{port}", by [SNAT];
    /// Time since the last dump of the table ended.
    CONNSCOPE_CONNTRACK_DUMP_AGE: Gauge<f64> = "connscope.conntrack.dump.age" in "s", by [NETNS];
    /// Time that the last dump of the table took.
    CONNSCOPE_CONNTRACK_DUMP_DURATION: Gauge<f64> = "connscope.conntrack.dump.duration" in "s", by [NETNS];
    /// Part of the table that the last dump read; below 1 if it ended early, absent if that part is not known because of a filter.
    CONNSCOPE_CONNTRACK_DUMP_SHARE: Gauge<f64> = "connscope.conntrack.dump.share" in "1", by [NETNS];
    /// CPU time that dumps of the table took, the part of the kernel included.
    CONNSCOPE_CONNTRACK_DUMP_CPU_TIME: Counter<f64> = "connscope.conntrack.dump.cpu.time" in "s", by [NETNS], history [from_zero];
    /// Dumps of the table that ended early because they had used their budget of CPU time.
    CONNSCOPE_CONNTRACK_DUMP_ENDED_EARLY: Counter<u64> = "connscope.conntrack.dump.ended_early" in "{dump}", by [NETNS], history [from_zero];
    /// How the connection tracking statistics are read; always 1.
    CONNSCOPE_CONNTRACK_SOURCE: Gauge<u64> = "connscope.conntrack.source" in "", by [VIA];
}
