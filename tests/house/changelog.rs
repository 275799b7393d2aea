//! The changelog is put together from fragments, so that two who work side by side do not write the same line.

use super::{read, root, walk};
use std::path::Path;
use std::process::Command;

const CLASSES: [&str; 5] = ["FEATURE", "ENHANCEMENT", "CHANGE", "FIX", "SECURITY"];

/// What is wrong with a fragment.
fn fault(file: &str, text: &str) -> Option<String> {
    let name = Path::new(file).file_name().unwrap().to_str().unwrap();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let named = name.strip_suffix(".md").is_some_and(|stem| {
        stem.split_once('-').is_some_and(|(area, slug)| !area.is_empty() && !slug.is_empty())
            && stem.chars().all(plain)
    });
    if !named {
        return Some(format!("{file}: name it <area>-<slug>.md, for instance sockets-listen-queue.md"));
    }
    let known = |line: &str| CLASSES.iter().any(|class| line.starts_with(&format!("[{class}] ")));
    if !text.lines().all(known) {
        let classes = CLASSES.join("], [");
        return Some(format!("{file}: each line begins with its class, one of [{classes}], and a blank"));
    }
    let ends = text.ends_with('\n') && text.lines().all(|line| line.ends_with('.'));
    (!ends).then(|| format!("{file}: each change is one line, however long, that ends with a period"))
}

#[test]
fn every_line_of_a_fragment_of_the_changelog_is_of_a_known_class() {
    // Right after a release there is none, and so git has no directory.
    let there = root().join("changelog.d").exists();
    let fragments = if there { walk("changelog.d") } else { Vec::new() };
    let faults: Vec<String> = fragments.iter().filter_map(|file| fault(file, &read(file))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_is_wrong_with_a_fragment_is_said() {
    assert_eq!(fault("changelog.d/probes-http3.md", "[FEATURE] Probes by HTTP/3.\n"), None);
    for (file, text, says) in [
        ("changelog.d/http3.md", "[FEATURE] Probes.\n", "name it"),
        ("changelog.d/Probes-http3.md", "[FEATURE] Probes.\n", "name it"),
        ("changelog.d/probes-http3.txt", "[FEATURE] Probes.\n", "name it"),
        ("changelog.d/probes-http3.md", "- [FEATURE] Probes.\n", "begins with its class"),
        ("changelog.d/probes-http3.md", "[NEWS] Probes.\n", "begins with its class"),
        ("changelog.d/probes-http3.md", "[FIX] One\nand a half.\n", "begins with its class"),
        ("changelog.d/probes-http3.md", "[FIX] No end\n", "one line"),
    ] {
        let fault = fault(file, text).unwrap();
        assert!(fault.contains(says), "{fault}");
    }
}

#[test]
fn fragments_are_moved_below_unreleased_by_class_and_wrapped() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("changelog.d")).unwrap();
    let old = "# Changelog\n\n## Unreleased\n\n- [FEATURE] Old.\n\n## 0.1.0\n\n- [FIX] Older.\n";
    write("CHANGELOG.md", old);
    let long = "word ".repeat(30);
    write("changelog.d/a-fix.md", "[FIX] Mended.\n");
    write("changelog.d/b-new.md", &format!("[FEATURE] New {long}end.\n"));
    let run = || {
        let output = Command::new(root().join(".ci/changelog")).arg(folder.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        std::fs::read_to_string(folder.path().join("CHANGELOG.md")).unwrap()
    };
    let text = run();
    let wrapped = format!("- [FEATURE] New {}\n  {}end.", "word ".repeat(20).trim_end(), "word ".repeat(10));
    let new = format!("## Unreleased\n\n{wrapped}\n- [FIX] Mended.\n- [FEATURE] Old.");
    assert_eq!(text, old.replace("## Unreleased\n\n- [FEATURE] Old.", &new));
    assert_eq!(std::fs::read_dir(folder.path().join("changelog.d")).unwrap().count(), 0);
    assert_eq!(run(), text, "without fragments nothing changes");
}
