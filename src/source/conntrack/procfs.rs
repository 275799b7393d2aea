//! `/proc/net/stat/nf_conntrack`: a header of names, then a row of hexadecimal numbers a CPU.
//!
//! `net/netfilter/nf_conntrack_standalone.c`, `ct_cpu_seq_show`. Columns are found by their name in the header:
//! `searched` became `clashres` (5.10) and `delete_list` became `chainlength` (5.15) in the same places. Some columns
//! have stayed though the kernel no longer counts them and prints 0; these are left out. A row has no CPU number.

use super::fields::{Field, Malformed, Row, Statistics, cpu, cut};
use crate::source::SourceError;

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
    let columns: Vec<Option<Field>> = named
        .into_iter()
        .enumerate()
        .map(|(column, field)| {
            let counted = rows.iter().any(|row| row.get(column).is_some_and(|value| *value != 0));
            (column > 0 && (counted || alive(&field, &header, release))).then_some(field)
        })
        .collect();
    let mut statistics = Statistics::default();
    for (index, values) in rows.into_iter().enumerate() {
        statistics.entries = values.first().copied();
        let number = match possible.get(index) {
            Some(number) => *number,
            None => cpu(u64::try_from(index).unwrap_or(u64::MAX))?,
        };
        let fields = columns
            .iter()
            .zip(values)
            .filter_map(|(field, value)| field.clone().map(|field| (field, value)))
            .collect();
        statistics.add(Row { cpu: number, fields })?;
    }
    if statistics.rows.is_empty() { Err(Malformed::Empty) } else { Ok(statistics) }
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

/// Whether the kernel that wrote this header still counts the column. The header is believed before the release: a
/// distributor's 4.18 with the columns of 5.10 has the behaviour of 5.10 too.
fn alive(field: &Field, header: &[&str], release: Option<(u32, u32)>) -> bool {
    let Field::Known(known) = field else { return true };
    let since_header = if header.contains(&"clashres") { Some((5, 10)) } else { None };
    match known.dead_since {
        None => true,
        Some(dead_since) => release.max(since_header).is_some_and(|release| release < dead_since),
    }
}

/// Reads the file in the calling thread's network namespace.
pub fn ask(release: Option<(u32, u32)>, possible: &[u32]) -> Result<Statistics, SourceError> {
    let doing = || format!("reading {FILE}");
    let text = crate::sys::read_limited(FILE, MOST)
        .map_err(|cause| SourceError::from_io(doing(), "the permission to read it", cause))?;
    parse(&text, release, possible).map_err(|cause| SourceError::parse(doing(), cause))
}
