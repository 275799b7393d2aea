//! The counters of the network stack by the kernel's names: `/proc/net/netstat`, `/proc/net/snmp`, `/proc/net/snmp6` (pure).
//!
//! `net/ipv4/proc.c`, `net/ipv6/proc.c`. The first two have pairs of lines, `TcpExt: SyncookiesSent ...` and
//! `TcpExt: 0 ...`; a new kernel adds words anywhere. The third has a name and a number on each line. The kernel counts in
//! `unsigned long`, for each network namespace.

use super::labels::IcmpError::{self, DestinationUnreachable, PacketTooBig, ParameterProblem, TimeExceeded};
use super::metrics;
use crate::metric::{Counter, Label};
use crate::reading::Readings;
use std::sync::Arc;

/// Metric that a counter is reported as.
#[derive(Debug, Clone, Copy)]
enum ReportedAs {
    /// A metric of its own.
    Count(Counter<u64>),
    /// A metric of time; the counter is of milliseconds.
    Milliseconds(Counter<f64>),
    /// Packets that could not be fragmented, of a `network.type`.
    Fragmentation(&'static str),
    /// ICMP errors of a `network.type`.
    Icmp(&'static str, IcmpError),
}

/// A counter with its section, empty in `snmp6`, and its name there.
struct KnownCounter(&'static str, &'static str, ReportedAs);

const KNOWN: &[KnownCounter] = &[
    KnownCounter("TcpExt", "SyncookiesSent", ReportedAs::Count(metrics::TCP_SYNCOOKIES_SENT)),
    KnownCounter("TcpExt", "SyncookiesRecv", ReportedAs::Count(metrics::TCP_SYNCOOKIES_RECEIVED)),
    KnownCounter("TcpExt", "SyncookiesFailed", ReportedAs::Count(metrics::TCP_SYNCOOKIES_FAILED)),
    KnownCounter("TcpExt", "TCPReqQFullDrop", ReportedAs::Count(metrics::TCP_SYN_QUEUE_DROPS)),
    KnownCounter("TcpExt", "ListenOverflows", ReportedAs::Count(metrics::TCP_LISTEN_OVERFLOWS)),
    KnownCounter("TcpExt", "ListenDrops", ReportedAs::Count(metrics::TCP_LISTEN_DROPS)),
    KnownCounter("TcpExt", "TCPTimeWaitOverflow", ReportedAs::Count(metrics::TCP_TIME_WAIT_OVERFLOWS)),
    KnownCounter("TcpExt", "TCPAbortOnMemory", ReportedAs::Count(metrics::TCP_ABORTS_ON_MEMORY)),
    KnownCounter("TcpExt", "TCPMemoryPressures", ReportedAs::Count(metrics::TCP_MEMORY_PRESSURES)),
    KnownCounter(
        "TcpExt",
        "TCPMemoryPressuresChrono",
        ReportedAs::Milliseconds(metrics::TCP_MEMORY_PRESSURE_TIME),
    ),
    KnownCounter("TcpExt", "TCPMTUPFail", ReportedAs::Count(metrics::TCP_MTU_PROBES_FAILED)),
    KnownCounter("Ip", "FragFails", ReportedAs::Fragmentation("ipv4")),
    KnownCounter("", "Ip6FragFails", ReportedAs::Fragmentation("ipv6")),
    KnownCounter("Icmp", "InDestUnreachs", ReportedAs::Icmp("ipv4", DestinationUnreachable)),
    KnownCounter("Icmp", "InTimeExcds", ReportedAs::Icmp("ipv4", TimeExceeded)),
    KnownCounter("Icmp", "InParmProbs", ReportedAs::Icmp("ipv4", ParameterProblem)),
    KnownCounter("", "Icmp6InDestUnreachs", ReportedAs::Icmp("ipv6", DestinationUnreachable)),
    KnownCounter("", "Icmp6InPktTooBigs", ReportedAs::Icmp("ipv6", PacketTooBig)),
    KnownCounter("", "Icmp6InTimeExcds", ReportedAs::Icmp("ipv6", TimeExceeded)),
    KnownCounter("", "Icmp6InParmProblems", ReportedAs::Icmp("ipv6", ParameterProblem)),
];

/// How many counters there are that the source reports.
pub const COUNTERS: usize = KNOWN.len();

/// Why a text could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Names and numbers of a section that are not as many, or not of one section.
    #[error("line {0} has other columns than the line before it")]
    Columns(usize),
    /// The value of a known counter is no number.
    #[error("{0} is not a number")]
    Number(&'static str),
    /// The last line does not end, or there is no second line to the first.
    #[error("the text is cut off")]
    CutOff,
}

/// The counters that one network namespace gave.
#[derive(Debug, Clone, Default)]
pub struct Counters(Vec<(ReportedAs, u64)>);

impl Counters {
    /// Takes the text of `netstat` or `snmp`.
    pub fn take_pairs(&mut self, text: &str) -> Result<(), Malformed> {
        if !text.ends_with('\n') {
            return Err(Malformed::CutOff);
        }
        let mut lines = text.lines().enumerate();
        while let Some((_, names)) = lines.next() {
            let (index, numbers) = lines.next().ok_or(Malformed::CutOff)?;
            let columns = Malformed::Columns(index + 1);
            let (section, names) = names.split_once(':').ok_or_else(|| columns.clone())?;
            let (same, numbers) = numbers.split_once(':').ok_or_else(|| columns.clone())?;
            let (mut names, mut numbers) = (names.split_ascii_whitespace(), numbers.split_ascii_whitespace());
            if section != same {
                return Err(columns);
            }
            loop {
                match (names.next(), numbers.next()) {
                    (None, None) => break,
                    (Some(name), Some(number)) => self.take(section, name, number)?,
                    _ => return Err(columns),
                }
            }
        }
        Ok(())
    }

    /// Takes the text of `snmp6`.
    pub fn take_lines(&mut self, text: &str) -> Result<(), Malformed> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(Malformed::CutOff);
        }
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split_ascii_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(name), Some(number), None) => self.take("", name, number)?,
                _ => return Err(Malformed::Columns(index + 1)),
            }
        }
        Ok(())
    }

    fn take(&mut self, section: &str, name: &str, number: &str) -> Result<(), Malformed> {
        if let Some(KnownCounter(_, name, meaning)) =
            KNOWN.iter().find(|known| known.0 == section && known.1 == name)
        {
            self.0.push((*meaning, number.parse().map_err(|_| Malformed::Number(name))?));
        }
        Ok(())
    }

    /// How many of the known ones there were.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Observes them, with the labels of their network namespace.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds stay far below 2^53")]
    pub fn observe(&self, labels: &[(Label, Arc<str>)], out: &mut Readings) {
        let with = |more: &[(Label, &str)]| {
            let more = more.iter().map(|(label, value)| (*label, Arc::from(*value)));
            labels.iter().cloned().chain(more).collect::<Vec<(Label, Arc<str>)>>()
        };
        for (meaning, value) in &self.0 {
            match *meaning {
                ReportedAs::Count(metric) => out.observe(metric, labels, *value),
                ReportedAs::Milliseconds(metric) => out.observe(metric, labels, *value as f64 / 1e3),
                ReportedAs::Fragmentation(family) => {
                    let labels = with(&[(Label::NetworkType, family)]);
                    out.observe(metrics::IP_FRAGMENTATION_FAILURES, &labels, *value);
                }
                ReportedAs::Icmp(family, error) => {
                    let labels = with(&[(Label::NetworkType, family), (Label::IcmpType, error.word())]);
                    out.observe(metrics::ICMP_ERRORS_RECEIVED, &labels, *value);
                }
            }
        }
    }
}

/// Connections that no process owns, of `/proc/net/sockstat`: `TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 0`.
pub fn orphans(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "orphan")?;
    words.next()?.parse().ok()
}
