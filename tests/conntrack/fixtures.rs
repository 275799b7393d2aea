//! The statistics that kernels and tools wrote, recorded in files, and looking things up in what was read of them.
//!
//! `tests/fixtures/README.md` says where each file comes from. The numbers that the tests expect of them are written out
//! and were taken from the files by eye, not by the parsers.

use connscope::source::conntrack::fields::{Row, Statistics};
use std::path::{Path, PathBuf};

pub(super) fn folder(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conntrack").join(format)
}

pub(super) fn bytes(file: &str) -> Vec<u8> {
    let path = folder(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn text(file: &str) -> String {
    String::from_utf8(bytes(file)).unwrap()
}

/// Every file of one format, by the end of its name.
pub(super) fn every(format: &str, ending: &str) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(folder(format))
        .unwrap()
        .map(|entry| format!("{format}/{}", entry.unwrap().file_name().into_string().unwrap()))
        .filter(|name| name.ends_with(ending))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no fixtures in {format}");
    files
}

pub(super) fn cpus(statistics: &Statistics) -> Vec<u32> {
    statistics.rows.iter().map(|row| row.cpu).collect()
}

pub(super) fn row(statistics: &Statistics, cpu: u32) -> &Row {
    statistics.rows.iter().find(|row| row.cpu == cpu).unwrap_or_else(|| panic!("no row for CPU {cpu}"))
}

/// All of a row as `word=number`, in its order: nothing may be missing and nothing may be too much.
pub(super) fn line(statistics: &Statistics, cpu: u32) -> String {
    let fields = &row(statistics, cpu).fields;
    let words: Vec<String> =
        fields.iter().map(|(field, value)| format!("{}={value}", field.word())).collect();
    words.join(" ")
}

pub(super) fn words(statistics: &Statistics) -> Vec<&str> {
    statistics.rows[0].fields.iter().map(|(field, _)| field.word()).collect()
}

/// One counter on every CPU, in the order of the rows.
pub(super) fn column(statistics: &Statistics, word: &str) -> Vec<u64> {
    let of_row = |row: &Row| {
        row.fields.iter().find(|(field, _)| field.word() == word).unwrap_or_else(|| panic!("no {word}")).1
    };
    statistics.rows.iter().map(of_row).collect()
}
