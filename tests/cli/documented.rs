//! Completions that the program prints, and man pages that are written from its command line.

use super::{refusal, text};
use crate::support::connscope;
use clap::CommandFactory;
use connscope::cli::Cli;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Pages by file name: of the program, of its commands, and of theirs.
fn pages() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), folder.path()).unwrap();
    let files = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
    files
        .map(|file| {
            let page = std::fs::read_to_string(file.path()).unwrap();
            (file.file_name().into_string().unwrap(), page)
        })
        .collect()
}

#[test]
fn the_man_pages_equal_the_command_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/man");
    std::fs::create_dir_all(&folder).unwrap();
    let committed: BTreeMap<String, String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(Result::unwrap)
        .map(|file| {
            let page = std::fs::read_to_string(file.path()).unwrap();
            (file.file_name().into_string().unwrap(), page)
        })
        .collect();
    let pages = pages();
    assert!(pages.len() > 8 && pages.contains_key("connscope-status.1"), "{:?}", pages.keys());
    if committed != pages {
        for name in committed.keys() {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
        for (name, page) in &pages {
            std::fs::write(folder.join(name), page).unwrap();
        }
        panic!("deploy/man was stale and has been rewritten from the command line; look at it and commit it");
    }
}

#[test]
fn every_shell_gets_completions_with_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = connscope(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = text(&output.stdout);
        for word in ["healthcheck", "otlp-endpoint", "conntrack-source"] {
            assert!(said.contains(word), "{shell} has no {word}");
        }
    }
    let line = refusal(&connscope(&["completions", "tcsh"]));
    assert!(line.contains("invalid value 'tcsh'"), "{line}");
}

#[test]
fn bash_takes_its_completions() {
    let script = text(&connscope(&["completions", "bash"]).stdout);
    let ask = "COMP_WORDS=(connscope heal); COMP_CWORD=1; _connscope connscope heal connscope; echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin.take().unwrap().write_all(format!("{script}\n{ask}\n").as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "healthcheck\n", "{output:?}");
}
