//! The columns of the views that have a row for each set of labels (pure).

use super::shown::Unit;

/// A table with a row for all series whose labels are the same.
pub(super) struct Labels {
    /// Title of the first column.
    pub(super) title: &'static str,
    /// Labels that make no rows: their series are added.
    pub(super) without: &'static [&'static str],
    /// Format of the name of a row.
    pub(super) naming: Naming,
    /// The columns after the name.
    pub(super) columns: &'static [Column],
    /// Column that the table is sorted by at first.
    pub(super) order: usize,
}

/// Format of the name of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// The direction, the port, and `label=value` for each other label.
    Group,
    /// `address:port → address:port`.
    Flow,
    /// The name, and the address of the target.
    Probe,
    /// Pod, container or unit.
    Container,
    /// The same, and the destination.
    Destination,
}

/// One column.
pub(super) struct Column {
    /// Heading of the column.
    pub(super) title: &'static str,
    /// The number shown of each series.
    pub(super) show: Show,
    /// The series.
    pub(super) of: &'static [Pick],
    /// Unit of the numbers.
    pub(super) unit: Unit,
    /// Values that stand out.
    pub(super) alarm: Alarm,
}

/// The series of one metric.
pub(super) struct Pick {
    /// Name of the metric.
    pub(super) metric: &'static str,
    /// A label, and the values of which it has to have one.
    pub(super) only: Option<(&'static str, &'static [&'static str])>,
}

/// What a column shows of its series.
pub(super) enum Show {
    /// The sum of the values.
    Now,
    /// The increase per second.
    Rate,
    /// The increase per second divided by that of other series, over 10 to 20 s.
    Share(&'static [Pick]),
    /// A quantile of a distribution of the last 10 to 20 s; without values in that time, of all.
    Quantile(f64),
    /// Time since the value, which is a time.
    Age,
    /// The label of the series that has increased last.
    Word(&'static str),
}

/// Values that stand out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Alarm {
    /// None.
    Never,
    /// Those above.
    Above(f64),
    /// Those below.
    Below(f64),
}

impl Alarm {
    /// Whether a value stands out.
    pub(super) fn on(self, value: f64) -> bool {
        match self {
            Self::Never => false,
            Self::Above(limit) => value > limit,
            Self::Below(limit) => value < limit,
        }
    }
}

const fn all(metric: &'static str) -> Pick {
    Pick { metric, only: None }
}

const fn only(metric: &'static str, label: &'static str, values: &'static [&'static str]) -> Pick {
    Pick { metric, only: Some((label, values)) }
}

const fn now(title: &'static str, unit: Unit, of: &'static [Pick]) -> Column {
    Column { title, show: Show::Now, of, unit, alarm: Alarm::Never }
}

const fn rate(title: &'static str, unit: Unit, of: &'static [Pick]) -> Column {
    Column { title, show: Show::Rate, of, unit, alarm: Alarm::Never }
}

const fn quantile(title: &'static str, fraction: f64, of: &'static [Pick]) -> Column {
    Column { title, show: Show::Quantile(fraction), of, unit: Unit::Seconds, alarm: Alarm::Never }
}

const fn word(title: &'static str, label: &'static str, of: &'static [Pick]) -> Column {
    Column { title, show: Show::Word(label), of, unit: Unit::Count, alarm: Alarm::Never }
}

const fn alarm(column: Column, alarm: Alarm) -> Column {
    let Column { title, show, of, unit, .. } = column;
    Column { title, show, of, unit, alarm }
}

const TRANSMIT: &[&str] = &["transmit"];
const RECEIVE: &[&str] = &["receive"];
const DIRECTION: &str = "network_io_direction";

pub(super) static GROUPS: Labels = Labels {
    title: "GROUP",
    without: &[DIRECTION, "event", "reason", "le"],
    naming: Naming::Group,
    columns: &[
        now("OPEN", Unit::Count, &[all("tcp.open_connections")]),
        alarm(
            Column {
                title: "RETRANS",
                show: Show::Share(&[only("tcp.segments", DIRECTION, TRANSMIT)]),
                of: &[all("tcp.retransmits")],
                unit: Unit::Ratio,
                alarm: Alarm::Never,
            },
            Alarm::Above(0.02),
        ),
        quantile("RTT p50", 0.5, &[all("tcp.rtt")]),
        quantile("RTT p95", 0.95, &[all("tcp.rtt")]),
        rate("NEW/s", Unit::Count, &[only("tcp.connections", "event", &["opened"])]),
        alarm(
            rate("FAILED/s", Unit::Count, &[only("tcp.connections", "event", &["failed"])]),
            Alarm::Above(0.0),
        ),
        rate("RESET/s", Unit::Count, &[only("tcp.connections", "event", &["reset"])]),
        rate("OUT/s", Unit::Bytes, &[only("tcp.io", DIRECTION, TRANSMIT)]),
        rate("IN/s", Unit::Bytes, &[only("tcp.io", DIRECTION, RECEIVE)]),
        now("QUEUE", Unit::Count, &[all("tcp.listen.queue.usage")]),
        alarm(rate("OVERFL/s", Unit::Count, &[all("tcp.listen.queue.overflow")]), Alarm::Above(0.0)),
        alarm(now("STALLED", Unit::Count, &[all("tcp.stalled_connections")]), Alarm::Above(0.0)),
        alarm(rate("UDPDROP/s", Unit::Count, &[all("udp.drops")]), Alarm::Above(0.0)),
    ],
    order: 2,
};

pub(super) static FLOWS: Labels = Labels {
    title: "CONNECTION",
    without: &["le"],
    naming: Naming::Flow,
    columns: &[
        now("RETRANS", Unit::Count, &[all("tcp.top.retransmits")]),
        now("RTT", Unit::Seconds, &[all("tcp.top.rtt"), all("tcp.flow.rtt")]),
        now("QUEUE", Unit::Bytes, &[all("tcp.top.queue")]),
        now("CWND", Unit::Count, &[all("tcp.flow.cwnd")]),
        now("RATE/s", Unit::Bytes, &[all("tcp.flow.delivery_rate")]),
        rate("OUT/s", Unit::Count, &[all("tcp.flow.data_segs_out")]),
        rate("IN/s", Unit::Count, &[all("tcp.flow.data_segs_in")]),
    ],
    order: 2,
};

pub(super) static PROBES: Labels = Labels {
    title: "PROBE",
    without: &["outcome", "error_type", "phase", "le"],
    naming: Naming::Probe,
    columns: &[
        alarm(now("UP", Unit::Count, &[all("probe.up"), all("probe.connection_status")]), Alarm::Below(1.0)),
        word("RESULT", "outcome", &[all("probe.runs")]),
        word("ERROR", "error_type", &[all("probe.duration")]),
        quantile("p50", 0.5, &[all("probe.duration")]),
        quantile("p95", 0.95, &[all("probe.duration")]),
        alarm(now("AVAIL", Unit::Ratio, &[all("probe.availability")]), Alarm::Below(0.99)),
        Column {
            title: "CHANGED",
            show: Show::Age,
            of: &[all("probe.last_change.time")],
            unit: Unit::Seconds,
            alarm: Alarm::Never,
        },
        now("CHANGES", Unit::Count, &[all("probe.state_changes")]),
        now("HTTP", Unit::Count, &[all("probe.http.status")]),
        alarm(now("LOSS", Unit::Ratio, &[all("probe.icmp.loss")]), Alarm::Above(0.0)),
    ],
    order: 1,
};

pub(super) static CONTAINERS: Labels = Labels {
    title: "CONTAINER",
    without: &[
        "kind",
        "resource",
        "disk_io_direction",
        "system_device",
        "system_filesystem_mountpoint",
        "machine_id",
        "le",
    ],
    naming: Naming::Container,
    columns: &[
        rate("CPU", Unit::Ratio, &[all("container.cpu.time"), all("container.classic.cpu_usage")]),
        now(
            "MEMORY",
            Unit::Bytes,
            &[all("container.memory.working_set"), all("container.classic.memory_rss")],
        ),
        now("LIMIT", Unit::Bytes, &[all("container.memory.limit"), all("container.classic.memory_limit")]),
        now("RESTARTS", Unit::Count, &[all("container.restarts"), all("container.classic.restarts")]),
        alarm(
            now("OOM", Unit::Count, &[all("container.oom_kills"), all("container.classic.oom_kills")]),
            Alarm::Above(0.0),
        ),
        alarm(rate("THROTTLED", Unit::Ratio, &[all("container.cpu.throttled.time")]), Alarm::Above(0.1)),
        rate("CPUDELAY", Unit::Ratio, &[all("container.cpu.delay.time"), all("container.classic.cpu_delay")]),
        rate(
            "DISKDELAY",
            Unit::Ratio,
            &[all("container.disk.delay.time"), all("container.classic.disk_delay")],
        ),
        rate("DISK/s", Unit::Bytes, &[all("container.disk.io")]),
        now("UPTIME", Unit::Seconds, &[all("container.uptime")]),
    ],
    order: 1,
};

pub(super) static DESTINATIONS: Labels = Labels {
    title: "CONTAINER → DESTINATION",
    without: &["event", "error_type", DIRECTION, "machine_id", "le"],
    naming: Naming::Destination,
    columns: &[
        now(
            "OPEN",
            Unit::Count,
            &[all("container.tcp.open_connections"), all("container.classic.active_connections")],
        ),
        alarm(
            rate(
                "FAILED/s",
                Unit::Count,
                &[
                    only("container.tcp.connections", "event", &["failed"]),
                    all("container.classic.failed_connects"),
                ],
            ),
            Alarm::Above(0.0),
        ),
        rate(
            "NEW/s",
            Unit::Count,
            &[only("container.tcp.connections", "event", &["opened"]), all("container.classic.connects")],
        ),
        rate("RESET/s", Unit::Count, &[only("container.tcp.connections", "event", &["reset"])]),
        rate(
            "RETRANS/s",
            Unit::Count,
            &[all("container.tcp.retransmits"), all("container.classic.retransmits")],
        ),
        now("RTT", Unit::Seconds, &[all("container.tcp.rtt")]),
        quantile("CONNECT95", 0.95, &[all("container.tcp.connect.time")]),
        rate(
            "OUT/s",
            Unit::Bytes,
            &[only("container.tcp.io", DIRECTION, TRANSMIT), all("container.classic.bytes_sent")],
        ),
        rate(
            "IN/s",
            Unit::Bytes,
            &[only("container.tcp.io", DIRECTION, RECEIVE), all("container.classic.bytes_received")],
        ),
    ],
    order: 2,
};

pub(super) static LOGS: Labels = Labels {
    title: "LOG",
    without: &[
        "severity",
        "log_source",
        "pattern",
        "level",
        "pattern_hash",
        "sample",
        "source",
        "machine_id",
    ],
    naming: Naming::Container,
    columns: &[
        alarm(
            rate(
                "ERRORS/s",
                Unit::Count,
                &[
                    only("container.log.messages", "severity", &["error", "critical"]),
                    only("container.classic.log.messages", "level", &["error", "critical"]),
                ],
            ),
            Alarm::Above(0.0),
        ),
        rate("WARNINGS/s", Unit::Count, &[only("container.log.messages", "severity", &["warning"])]),
        rate(
            "MESSAGES/s",
            Unit::Count,
            &[all("container.log.messages"), all("container.classic.log.messages")],
        ),
        rate("BYTES/s", Unit::Bytes, &[all("container.log.io")]),
        Column {
            title: "LAST",
            show: Show::Age,
            of: &[all("container.log.last_message.time")],
            unit: Unit::Seconds,
            alarm: Alarm::Never,
        },
    ],
    order: 1,
};
