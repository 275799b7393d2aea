//! No file of code is longer than a reader keeps in mind.

use super::{read, walk};
use std::path::Path;

const MOST_LINES: usize = 400;

/// Files that a program writes.
const GENERATED: &[&str] = &["examples/connscope.yaml"];

#[test]
fn no_source_test_or_script_is_longer_than_400_lines() {
    let code = |file: &&String| {
        let path = Path::new(file);
        let kind = path.extension().and_then(|extension| extension.to_str());
        matches!(kind, Some("c" | "go" | "h" | "pl" | "rs" | "py" | "sh" | "yml" | "yaml"))
            || path.starts_with(".ci")
    };
    let folders = [
        ".ci",
        "benches",
        "bpf",
        "deploy",
        "examples",
        "fuzz/fuzz_targets",
        "otel-collector",
        "src",
        "tests",
    ];
    let files: Vec<String> = folders.into_iter().flat_map(walk).collect();
    let long = |file: &&String| read(file).lines().count() > MOST_LINES;
    let long: Vec<&str> = files.iter().filter(code).filter(long).map(String::as_str).collect();
    assert_eq!(
        long, GENERATED,
        "more than {MOST_LINES} lines are two jobs in one file: give one of them a file of its own, named after it. \
         Only what a program writes may be longer"
    );
}
