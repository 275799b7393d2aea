//! The kernel's connection tracking counters: their words, aliases, attribute numbers, and which are still counted.
//!
//! Words and numbers: `enum ctattr_stats_cpu` and `enum ctattr_expect_stats` in
//! `include/uapi/linux/netfilter/nfnetlink_conntrack.h`; the aliases are column names of
//! `net/netfilter/nf_conntrack_standalone.c`, which `conntrack` prints too where it falls back to that file.

use crate::metric::Counter;
use crate::netlink;
use crate::source::conntrack::metrics;
use std::sync::Arc;

/// A counter the table has a row for.
#[derive(Debug)]
pub struct KnownCounter {
    /// Name of the counter in the kernel and in `conntrack -S`.
    pub word: &'static str,
    /// Column name in `/proc/net/stat/nf_conntrack`, where it differs.
    pub column: Option<&'static str>,
    /// The metric that it is reported as.
    pub metric: Counter<u64>,
    /// First release that no longer counts it, though the column in procfs is still there.
    pub dead_since: Option<(u32, u32)>,
}

const fn known(word: &'static str, metric: Counter<u64>) -> KnownCounter {
    KnownCounter { word, column: None, metric, dead_since: None }
}

/// Counters by attribute number of `enum ctattr_stats_cpu`, beginning with 1.
pub static STATISTICS: &[KnownCounter] = &[
    KnownCounter { dead_since: Some((4, 9)), ..known("searched", metrics::CONNTRACK_SEARCHED) },
    known("found", metrics::CONNTRACK_FOUND),
    KnownCounter { dead_since: Some((4, 9)), ..known("new", metrics::CONNTRACK_NEW) },
    known("invalid", metrics::CONNTRACK_INVALID),
    KnownCounter { dead_since: Some((5, 10)), ..known("ignore", metrics::CONNTRACK_IGNORE) },
    KnownCounter { dead_since: Some((4, 9)), ..known("delete", metrics::CONNTRACK_DELETE) },
    KnownCounter { dead_since: Some((4, 9)), ..known("delete_list", metrics::CONNTRACK_DELETE_LIST) },
    known("insert", metrics::CONNTRACK_INSERT),
    known("insert_failed", metrics::CONNTRACK_INSERT_FAILED),
    known("drop", metrics::CONNTRACK_DROP),
    known("early_drop", metrics::CONNTRACK_EARLY_DROP),
    KnownCounter { column: Some("icmp_error"), ..known("error", metrics::CONNTRACK_ERROR) },
    known("search_restart", metrics::CONNTRACK_SEARCH_RESTART),
    KnownCounter { column: Some("clashres"), ..known("clash_resolve", metrics::CONNTRACK_CLASH_RESOLVE) },
    KnownCounter { column: Some("chainlength"), ..known("chaintoolong", metrics::CONNTRACK_CHAINTOOLONG) },
];

/// Counters by attribute number of `enum ctattr_expect_stats`, beginning with 1.
pub static EXPECTATIONS: &[KnownCounter] = &[
    known("expect_new", metrics::CONNTRACK_EXPECT_NEW),
    known("expect_create", metrics::CONNTRACK_EXPECT_CREATE),
    known("expect_delete", metrics::CONNTRACK_EXPECT_DELETE),
];

/// A counter, known or not.
#[derive(Debug, Clone)]
pub enum Field {
    /// One that the table has a row for.
    Known(&'static KnownCounter),
    /// One that a newer kernel has added.
    Unknown(Arc<str>),
}

impl Field {
    /// The counter that goes by this word or column name.
    pub fn named(word: &str) -> Self {
        STATISTICS
            .iter()
            .chain(EXPECTATIONS)
            .find(|known| known.word == word || known.column == Some(word))
            .map_or_else(|| Self::Unknown(word.into()), Self::Known)
    }

    /// The counter of an attribute number of `known`. A number behind the last known one gets the name that
    /// `conntrack` gives it, so that both ways agree: `unknown1` is the first.
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

/// What one CPU has counted. The values are as wide as the kernel gave them: 32 bits, to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Logical CPU, or the row's number where the format does not say.
    pub cpu: u32,
    /// Each counter once.
    pub fields: Vec<(Field, u64)>,
}

/// The statistics of one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// One row a CPU.
    pub rows: Vec<Row>,
    /// Entries in the table, where the format has them. Every row repeats the one number; it is never summed.
    pub entries: Option<u64>,
}

impl Statistics {
    /// Adds a row; a CPU that is there already is refused, since its counters would be counted twice.
    pub fn add(&mut self, row: Row) -> Result<(), Malformed> {
        if self.rows.iter().any(|present| present.cpu == row.cpu) {
            return Err(Malformed::SameCpu(row.cpu));
        }
        self.rows.push(row);
        Ok(())
    }
}

/// Why an answer could not be understood; shared by the three formats.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The answer has no rows.
    #[error("the answer is empty")]
    Empty,
    /// A word that is not `key=value`.
    #[error("line {line}: `{word}` is not a number by its name")]
    Word {
        /// Line, from 1.
        line: usize,
        /// The name of the counter, cut to a bounded length.
        word: String,
    },
    /// A line that does not begin as one of this format does.
    #[error("line {line} does not begin with cpu=")]
    NoCpu {
        /// Line, from 1.
        line: usize,
    },
    /// A counter that is repeated in one row.
    #[error("line {line} has {word} twice")]
    Twice {
        /// Line, from 1.
        line: usize,
        /// The name that is repeated or missing.
        word: String,
    },
    /// A row with more or fewer numbers than the header has names.
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
    /// The CPU number is out of range.
    #[error("there is no CPU {0}")]
    NoSuchCpu(u64),
    /// Not text.
    #[error("the answer is not text")]
    NotText,
    /// A netlink message that ends before it should.
    #[error("message cut off at byte {0}")]
    CutOff(usize),
    /// An attribute that is repeated in one message.
    #[error("attribute {0} is repeated")]
    Repeated(u16),
    /// A known counter that is not a number.
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

/// Highest number of CPUs a kernel can be built for (`CONFIG_NR_CPUS`).
const MOST_CPUS: u64 = 8192;

/// A CPU number, if there can be such a CPU.
pub fn cpu(number: u64) -> Result<u32, Malformed> {
    if number < MOST_CPUS {
        u32::try_from(number).map_err(|_| Malformed::NoSuchCpu(number))
    } else {
        Err(Malformed::NoSuchCpu(number))
    }
}

/// The first characters of a word, for a message.
pub fn cut(word: &str) -> String {
    word.chars().take(40).flat_map(char::escape_default).collect()
}
