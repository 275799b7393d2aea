//! `/proc/net/stat/nf_conntrack`: a header of names, then a row of hexadecimal numbers a CPU.
//!
//! `net/netfilter/nf_conntrack_standalone.c`, `ct_cpu_seq_show`. Columns are found by their name in the header:
//! `searched` became `clashres` (5.10) and `delete_list` became `chainlength` (5.15) in the same places. Some columns
//! have stayed though the kernel no longer counts them and prints 0; these are left out. A row has no CPU number.

use super::fields::{Field, KnownCounter, Malformed, Row, Statistics, cpu, cut};
use super::module;
use crate::reading::SourceError;
use std::collections::BTreeSet;
use std::path::Path;

/// The file, in the network namespace of the calling thread: `/proc/net` and `/proc/self/net` are that of the
/// process' first thread.
pub const FILE: &str = "/proc/thread-self/net/stat/nf_conntrack";

/// Most of the file that is read: 8192 rows of 17 columns.
const MOST: u64 = 2 * 1024 * 1024;

/// Reads the file's text. `release` is that of the running kernel, which says which columns are dead; `possible` are
/// the numbers of the possible CPUs, one a row.
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
    // A list with another number of CPUs than there are rows is not that of the kernel which wrote them (a container whose
    // /sys is made up): the rows are numbered as they come then.
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

/// Leaves out the columns that are there though the kernel no longer counts them, and that are 0 on every CPU.
/// The columns are believed before the release: a distributor's 4.18 with those of 5.10 has the behaviour of 5.10 too.
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
            // `from_str_radix` alone would take `+1f`, which no kernel prints.
            let plain = word.bytes().all(|byte| byte.is_ascii_hexdigit());
            let value = plain.then(|| u64::from_str_radix(word, 16).ok()).flatten();
            value.ok_or_else(|| Malformed::Word { line, word: cut(word) })
        })
        .collect()
}

/// Whether a kernel of this release still counts a column.
fn alive(field: &Field, release: Option<(u32, u32)>) -> bool {
    match field {
        Field::Unknown(_) | Field::Known(KnownCounter { dead_since: None, .. }) => true,
        Field::Known(KnownCounter { dead_since: Some(dead_since), .. }) => {
            release.is_some_and(|release| release < *dead_since)
        }
    }
}

/// Reads the file in the calling thread's network namespace.
pub fn ask(release: Option<(u32, u32)>, possible: &[u32]) -> Result<Statistics, SourceError> {
    let doing = || format!("reading {FILE}");
    let text = crate::sys::read_limited(FILE, MOST).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => SourceError::absent(doing(), missing()),
        _ => SourceError::from_io(doing(), "the permission to read it", cause),
    })?;
    parse(&text, release, possible).map_err(|cause| SourceError::parse(doing(), cause))
}

/// Why the file does not exist.
fn missing() -> &'static str {
    if module::is_loaded() {
        "the kernel was built without CONFIG_NF_CONNTRACK_PROCFS, or /proc/net is masked; use `via: netlink` or \
         `via: command`, which have the same counters"
    } else if Path::new("/proc/thread-self/net/stat").is_dir() {
        "the module nf_conntrack is not loaded, or the kernel was built without CONFIG_NF_CONNTRACK_PROCFS"
    } else {
        "there is no /proc/net/stat; is /proc mounted, and as a whole?"
    }
}
