//! The kernel's connection tracking counters: names, aliases, attribute numbers, and the releases that maintain them.
//!
//! Names and numbers: `enum ctattr_stats_cpu` and `enum ctattr_expect_stats` in
//! `include/uapi/linux/netfilter/nfnetlink_conntrack.h`. The aliases are column names of
//! `net/netfilter/nf_conntrack_standalone.c`, which `conntrack` also prints if it falls back to that file.

use crate::metric::Counter;
use crate::netlink;
use crate::source::conntrack::metrics;
use std::sync::Arc;

/// A counter that has a metric.
#[derive(Debug)]
pub struct KnownCounter {
    /// Name of the counter in the kernel and in `conntrack -S`.
    pub word: &'static str,
    /// Column name in `/proc/net/stat/nf_conntrack`, if it differs.
    pub column: Option<&'static str>,
    /// Metric of the counter.
    pub metric: Counter<u64>,
    /// First release that no longer maintains the counter, although procfs still has the column.
    pub dead_since: Option<(u32, u32)>,
}

const fn counter(word: &'static str, metric: Counter<u64>) -> KnownCounter {
    KnownCounter { word, column: None, metric, dead_since: None }
}

/// Counters by attribute number of `enum ctattr_stats_cpu`, from 1.
pub static STATISTICS: &[KnownCounter] = &[
    KnownCounter { dead_since: Some((4, 9)), ..counter("searched", metrics::CONNTRACK_SEARCHED) },
    counter("found", metrics::CONNTRACK_FOUND),
    KnownCounter { dead_since: Some((4, 9)), ..counter("new", metrics::CONNTRACK_NEW) },
    counter("invalid", metrics::CONNTRACK_INVALID),
    KnownCounter { dead_since: Some((5, 10)), ..counter("ignore", metrics::CONNTRACK_IGNORE) },
    KnownCounter { dead_since: Some((4, 9)), ..counter("delete", metrics::CONNTRACK_DELETE) },
    KnownCounter { dead_since: Some((4, 9)), ..counter("delete_list", metrics::CONNTRACK_DELETE_LIST) },
    counter("insert", metrics::CONNTRACK_INSERT),
    counter("insert_failed", metrics::CONNTRACK_INSERT_FAILED),
    counter("drop", metrics::CONNTRACK_DROP),
    counter("early_drop", metrics::CONNTRACK_EARLY_DROP),
    KnownCounter { column: Some("icmp_error"), ..counter("error", metrics::CONNTRACK_ERROR) },
    counter("search_restart", metrics::CONNTRACK_SEARCH_RESTART),
    KnownCounter { column: Some("clashres"), ..counter("clash_resolve", metrics::CONNTRACK_CLASH_RESOLVE) },
    KnownCounter { column: Some("chainlength"), ..counter("chaintoolong", metrics::CONNTRACK_CHAINTOOLONG) },
];

/// Counters by attribute number of `enum ctattr_expect_stats`, from 1.
pub static EXPECTATIONS: &[KnownCounter] = &[
    counter("expect_new", metrics::CONNTRACK_EXPECT_NEW),
    counter("expect_create", metrics::CONNTRACK_EXPECT_CREATE),
    counter("expect_delete", metrics::CONNTRACK_EXPECT_DELETE),
];

/// A counter, known or not.
#[derive(Debug, Clone)]
pub enum Field {
    /// A counter that has a metric.
    Known(&'static KnownCounter),
    /// A counter that a newer kernel has added.
    Unknown(Arc<str>),
}

impl Field {
    /// The counter with this name or column name.
    pub fn named(word: &str) -> Self {
        STATISTICS
            .iter()
            .chain(EXPECTATIONS)
            .find(|known| known.word == word || known.column == Some(word))
            .map_or_else(|| Self::Unknown(word.into()), Self::Known)
    }

    /// The counter with this attribute number in `known`. A number after the last known one gets the name that
    /// `conntrack` prints, so that both methods agree: `unknown1` is the first.
    pub fn numbered(number: u16, known: &'static [KnownCounter]) -> Option<Self> {
        let position = usize::from(number).checked_sub(1)?;
        Some(known.get(position).map_or_else(
            || Self::Unknown(format!("unknown{}", position + 1 - known.len()).into()),
            Self::Known,
        ))
    }

    /// Name of the counter in the kernel and in `conntrack -S`.
    pub fn word(&self) -> &str {
        match self {
            Self::Known(known) => known.word,
            Self::Unknown(word) => word,
        }
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.word() == other.word()
    }
}

impl Eq for Field {}

impl PartialOrd for Field {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Field {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.word().cmp(other.word())
    }
}

/// The counters of one CPU. The kernel's values have 32 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Logical CPU, or the number of the row if the format has no CPU.
    pub cpu: u32,
    /// The counters, each once.
    pub fields: Vec<(Field, u64)>,
}

/// The statistics of one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// One row per CPU.
    pub rows: Vec<Row>,
    /// Entries in the table, if the format has them. Every row repeats the same number, which is never summed.
    pub entries: Option<u64>,
}

impl Statistics {
    /// Adds a row. A second row of a CPU is an error, because its counters would be counted twice.
    pub fn add(&mut self, row: Row) -> Result<(), Malformed> {
        if self.rows.iter().any(|present| present.cpu == row.cpu) {
            return Err(Malformed::SameCpu(row.cpu));
        }
        self.rows.push(row);
        Ok(())
    }

    /// Whether there are expectations now: more were created than deleted. The kernel's counters wrap at 2^32.
    pub fn are_expected(&self) -> bool {
        let sum = |word: &str| {
            let fields = self.rows.iter().flat_map(|row| &row.fields);
            let counts = fields.filter(|(field, _)| field.word() == word).map(|(_, count)| *count);
            counts.fold(0u64, u64::wrapping_add) & u64::from(u32::MAX)
        };
        sum("expect_create") != sum("expect_delete")
    }
}

/// Reason why statistics could not be parsed; shared by the three formats.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There are no rows.
    #[error("the answer is empty")]
    Empty,
    /// A word that is not `key=value`.
    #[error("line {line}: `{word}` is not NAME=NUMBER")]
    Word {
        /// Line, from 1.
        line: usize,
        /// The name of the counter, cut to a bounded length.
        word: String,
    },
    /// A line that does not begin with `cpu=`.
    #[error("line {line} does not begin with cpu=")]
    NoCpu {
        /// Line, from 1.
        line: usize,
    },
    /// A counter that occurs twice in one row.
    #[error("line {line} has {word} twice")]
    Twice {
        /// Line, from 1.
        line: usize,
        /// The name that is repeated or missing.
        word: String,
    },
    /// A row with more or fewer numbers than the header has columns.
    #[error("line {line} has {found} columns, the header {expected}")]
    Columns {
        /// Line, from 1.
        line: usize,
        /// Columns in the row.
        found: usize,
        /// Columns in the header.
        expected: usize,
    },
    /// Two rows for one CPU.
    #[error("CPU {0} is repeated")]
    SameCpu(u32),
    /// A CPU number that is out of range.
    #[error("there is no CPU {0}")]
    NoSuchCpu(u64),
    /// The text is not UTF-8.
    #[error("the answer is not text")]
    NotText,
    /// A netlink message that is too short.
    #[error("message cut off at byte {0}")]
    CutOff(usize),
    /// An attribute that occurs twice in one message.
    #[error("attribute {0} is repeated")]
    Repeated(u16),
    /// A known counter whose attribute has the wrong length.
    #[error("attribute {number} is {length} bytes long")]
    Length {
        /// Number of the attribute.
        number: u16,
        /// Length of its payload.
        length: usize,
    },
}

impl From<netlink::Malformed> for Malformed {
    fn from(malformed: netlink::Malformed) -> Self {
        match malformed {
            netlink::Malformed::CutOff(length) => Self::CutOff(length),
            netlink::Malformed::Length { number, length } => Self::Length { number, length },
        }
    }
}

/// Maximum number of CPUs of a kernel (`CONFIG_NR_CPUS`).
const MAX_CPUS: u64 = 8192;

/// Validates a CPU number.
pub fn cpu(number: u64) -> Result<u32, Malformed> {
    if number < MAX_CPUS {
        u32::try_from(number).map_err(|_| Malformed::NoSuchCpu(number))
    } else {
        Err(Malformed::NoSuchCpu(number))
    }
}

/// The first characters of a word, escaped for a message.
pub fn cut(word: &str) -> String {
    word.chars().take(40).flat_map(char::escape_default).collect()
}
