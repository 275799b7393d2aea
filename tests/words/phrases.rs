//! Phrases of our own that operators had to decode.

use super::root;
use std::path::{Path, PathBuf};

/// Phrases that readers had to decode, and what to write instead. The list stays short: a phrase is on it because it was
/// all over the project.
const NOT_AGAIN: &[(&str, &str)] = &[
    ("sent again", "retransmitted (segments) or retried (requests)"),
    ("the way there", "the network path"),
    ("on the way", "on the network path, or in transit"),
    ("news of", "the name of the event: socket destroy events"),
    ("told of", "reported, or the name of the event"),
    ("tells of", "reports, or the name of the event"),
    ("hear of", "receive"),
    ("hears of", "receives"),
    ("made anew", "made again, recreated, or restarted"),
    ("throws away", "drops, discards or rejects"),
    ("thrown away", "dropped, discarded or rejected"),
    ("thrown out", "evicted"),
    ("under way", "in flight, or in progress"),
    ("its turn", "its scheduled time, or its interval"),
    ("slowest twentieth", "p95"),
    ("slowest hundredth", "p99"),
    ("held up", "limited, delayed or blocked"),
    ("way out", "exporter"),
    ("anew", "again, or what happens: restarted, rebuilt, reset, looked up again"),
    ("passed over", "skipped or ignored"),
    ("one by one", "individually, or one at a time"),
    ("in place of", "instead of"),
    ("over and over", "repeatedly, or how often"),
    ("again and again", "repeatedly, or how often"),
    ("who talks to whom", "connections by what they are grouped by"),
    ("found no room", "exceeded a limit, or did not fit"),
    ("finds no room", "exceeds a limit, or does not fit"),
    ("said once", "logged once"),
    ("how bad", "severity"),
    ("became of", "event, result or outcome"),
    ("becomes of", "what happens with it, by its name: event, result"),
    ("kernel's half", "BPF programs"),
    ("look-up", "lookup"),
    ("looked into", "inspected or read"),
    ("let it log", "configure it to log"),
    ("the configuration read again", "reload"),
    ("configuration was read again", "reloaded"),
    ("its configuration again", "reload"),
    ("lived for a moment", "short-lived"),
    ("what is over it", "what exceeds the limit, by its name: readings over the limit"),
    ("what is so of", "the state of"),
    ("who listens", "listening sockets, or the listening socket"),
    ("somebody listens", "a socket listens"),
    ("is to be found", "is, can be found, or is looked up"),
    ("where there is no room", "at the limit, or if it is full"),
    ("as far as was found out", "as far as known"),
];

/// Text on one line, without the marks of comments, in lower case.
fn plain(text: &str) -> String {
    let lines =
        text.lines().map(|line| line.trim().trim_start_matches(['/', '!', '#', '*', '"', 'f']).trim());
    lines.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Whether a phrase is in a text as whole words.
fn says(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(start, found)| {
        let before = text.get(..start).and_then(|text| text.chars().next_back());
        let after = text.get(start + found.len()..).and_then(|text| text.chars().next());
        ![before, after].iter().flatten().any(|neighbour| neighbour.is_alphanumeric())
    })
}

fn texts(dir: &Path, found: &mut Vec<PathBuf>) {
    const ENDS: [&str; 9] = ["rs", "md", "yml", "yaml", "py", "service", "conf", "json", "toml"];
    for entry in std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())).flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            texts(&path, found);
        } else if path.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known)) {
            found.push(path);
        }
    }
}

#[test]
fn what_people_read_is_free_of_phrases_that_had_to_be_decoded() {
    assert!(
        says(&plain("/// Segments sent\n/// again.\n"), "sent again")
            && !says("resent against", "sent again")
    );
    let mut files = ["README.md", "METRICS.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile"]
        .map(|file| root().join(file))
        .to_vec();
    for dir in ["src", "docs", "deploy", "examples", "changelog.d"] {
        texts(&root().join(dir), &mut files);
    }
    // Scripts have no extension.
    let scripts = std::fs::read_dir(root().join(".ci")).expect(".ci").flatten();
    files.extend(scripts.map(|entry| entry.path()).filter(|path| path.is_file()));
    let mut found = Vec::new();
    for file in files {
        let text = plain(
            &std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())),
        );
        for (phrase, instead) in NOT_AGAIN.iter().filter(|(phrase, _)| says(&text, phrase)) {
            let file = file.strip_prefix(root()).unwrap_or(&file).display();
            found.push(format!("{file}: \"{phrase}\"; write: {instead}"));
        }
    }
    assert!(found.is_empty(), "words of the trade, please:\n{}", found.join("\n"));
}
