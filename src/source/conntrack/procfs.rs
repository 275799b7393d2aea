//! `/proc/net/stat/nf_conntrack`: a header with column names, then one row of hexadecimal numbers per CPU.
//!
//! `net/netfilter/nf_conntrack_standalone.c`, `ct_cpu_seq_show`. Columns are found by their name in the header:
//! `clashres` replaced `searched` (5.10) and `chainlength` replaced `delete_list` (5.15) at the same position. The
//! kernel prints 0 in some columns that it no longer maintains; these are left out. A row has no CPU number.

use super::fields::{Field, KnownCounter, Malformed, Row, Statistics, cpu, cut};
use super::module;
use crate::reading::SourceError;
use std::collections::BTreeSet;
use std::path::Path;

/// Path of the file in the calling thread's network namespace: `/proc/net` and `/proc/self/net` are those of the main
/// thread.
pub const FILE: &str = "/proc/thread-self/net/stat/nf_conntrack";

/// Maximum number of bytes read: 8192 rows of 17 columns.
const MAX_BYTES: u64 = 2 * 1024 * 1024;

/// Parses the text of the file. `release` of the running kernel determines the columns that are not maintained;
/// `possible` has the numbers of the possible CPUs, one per row.
pub fn parse(text: &str, release: Option<(u32, u32)>, possible: &[u32]) -> Result<Statistics, Malformed> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let header: Vec<&str> = match lines.next() {
        Some((_, header)) => header.split_ascii_whitespace().collect(),
        None => return Err(Malformed::Empty),
    };
    if header.first() != Some(&"entries") {
        return Err(Malformed::Word { line: 1, word: cut(header.first().unwrap_or(&"")) });
    }
    let named: Vec<Field> = header.iter().map(|name| Field::named(name)).collect();
    let twice =
        |(column, field): &(usize, &Field)| named.iter().take(*column).any(|earlier| earlier == *field);
    if let Some((column, _)) = named.iter().enumerate().find(twice) {
        let name = header.get(column).unwrap_or(&"");
        return Err(Malformed::Twice { line: 1, word: cut(name) });
    }
    let mut rows: Vec<Vec<u64>> = Vec::new();
    for (line, row) in lines {
        let values = numbers(row, line)?;
        if values.len() != header.len() {
            return Err(Malformed::Columns { line, found: values.len(), expected: header.len() });
        }
        rows.push(values);
    }
    // If the number of possible CPUs is not that of the rows, the list is not that of this kernel (a container with an
    // emulated /sys), and the rows are numbered from 0.
    let possible = if possible.len() == rows.len() { possible } else { &[] };
    let mut statistics = Statistics::default();
    for (index, values) in rows.into_iter().enumerate() {
        statistics.entries = values.first().copied();
        let number = match possible.get(index) {
            Some(number) => *number,
            None => cpu(u64::try_from(index).unwrap_or(u64::MAX))?,
        };
        let fields = named.iter().cloned().zip(values).skip(1).collect();
        statistics.add(Row { cpu: number, fields })?;
    }
    leave_out_dead(&mut statistics, release);
    if statistics.rows.is_empty() { Err(Malformed::Empty) } else { Ok(statistics) }
}

/// Removes columns that the kernel no longer maintains and that are 0 on every CPU. The columns take precedence over
/// the release: a distribution's 4.18 with the columns of 5.10 also behaves as 5.10.
pub fn leave_out_dead(statistics: &mut Statistics, release: Option<(u32, u32)>) {
    let has = |word: &str| {
        statistics.rows.iter().flat_map(|row| &row.fields).any(|(field, _)| field.word() == word)
    };
    let since_column = if has("clash_resolve") { Some((5, 10)) } else { None };
    let release = release.max(since_column);
    let counted: BTreeSet<Field> = statistics
        .rows
        .iter()
        .flat_map(|row| &row.fields)
        .filter(|(_, value)| *value != 0)
        .map(|(field, _)| field.clone())
        .collect();
    for row in &mut statistics.rows {
        row.fields.retain(|(field, _)| counted.contains(field) || alive(field, release));
    }
}

fn numbers(row: &str, line: usize) -> Result<Vec<u64>, Malformed> {
    row.split_ascii_whitespace()
        .map(|word| {
            // `from_str_radix` alone would accept `+1f`, which no kernel prints.
            let plain = word.bytes().all(|byte| byte.is_ascii_hexdigit());
            let value = plain.then(|| u64::from_str_radix(word, 16).ok()).flatten();
            value.ok_or_else(|| Malformed::Word { line, word: cut(word) })
        })
        .collect()
}

/// Whether a kernel of this release maintains a column.
fn alive(field: &Field, release: Option<(u32, u32)>) -> bool {
    match field {
        Field::Unknown(_) | Field::Known(KnownCounter { dead_since: None, .. }) => true,
        Field::Known(KnownCounter { dead_since: Some(dead_since), .. }) => {
            release.is_some_and(|release| release < *dead_since)
        }
    }
}

/// Reads and parses the file in the calling thread's network namespace.
pub fn ask(release: Option<(u32, u32)>, possible: &[u32]) -> Result<Statistics, SourceError> {
    let doing = || format!("reading {FILE}");
    let text = crate::sys::read_limited(FILE, MAX_BYTES).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => {
            let directory = Path::new("/proc/thread-self/net/stat").is_dir();
            SourceError::absent(doing(), missing(module::is_loaded(), directory))
        }
        _ => SourceError::from_io(doing(), "the permission to read it", cause),
    })?;
    parse(&text, release, possible).map_err(|cause| SourceError::parse(doing(), cause))
}

/// The reason why the file does not exist, by whether the module is loaded and whether the file's directory exists.
pub fn missing(loaded: bool, directory: bool) -> &'static str {
    if loaded {
        "the kernel was built without CONFIG_NF_CONNTRACK_PROCFS, or /proc/net is masked; use `via: netlink` or \
         `via: command`, which have the same counters"
    } else if directory {
        "the module nf_conntrack is not loaded, or the kernel was built without CONFIG_NF_CONNTRACK_PROCFS"
    } else {
        "there is no /proc/net/stat; is /proc mounted, and as a whole?"
    }
}
