//! No file of code is longer than a reader keeps in mind.

use super::{read, walk};
use std::collections::BTreeSet;
use std::path::Path;

const MOST_LINES: usize = 400;

/// Files that are still longer. This list only shrinks.
const STILL_LONG: &[&str] = &[];

#[test]
fn no_source_test_or_script_is_longer_than_400_lines() {
    let code = |file: &&String| {
        let path = Path::new(file);
        let kind = path.extension().and_then(|extension| extension.to_str());
        matches!(kind, Some("rs" | "py" | "sh")) || path.starts_with(".ci")
    };
    let folders = [".ci", "benches", "deploy", "fuzz/fuzz_targets", "otel-collector", "src", "tests"];
    let files: Vec<String> = folders.into_iter().flat_map(walk).collect();
    let long: BTreeSet<&str> = files
        .iter()
        .filter(code)
        .filter(|file| read(file).lines().count() > MOST_LINES)
        .map(String::as_str)
        .collect();
    let allowed: BTreeSet<&str> = STILL_LONG.iter().copied().collect();
    let new: Vec<_> = long.difference(&allowed).collect();
    assert!(
        new.is_empty(),
        "{new:?}: more than {MOST_LINES} lines are two jobs in one file. Give one of them a file of its own, named after it"
    );
    let gone: Vec<_> = allowed.difference(&long).collect();
    assert!(gone.is_empty(), "no longer that long: take {gone:?} out of STILL_LONG in tests/house/size.rs");
}
