//! Reading, on real files and without the thread.

use super::{Files, HELD, Journald, LogSource, Reader, Settings, Shared, Subject};
use crate::host::inventory::Inventory;
use crate::source::logs::counts::LogCounts;
use crate::source::logs::labels::Lost;
use crate::source::logs::severity::Severity;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory whose files `*.log` are read.
struct Case {
    directory: tempfile::TempDir,
    reader: Reader,
}

impl Case {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::Paths(vec![format!("{}/*.log", directory.path().display())]);
        let settings =
            Settings { docker: false, cri: false, journald: Journald::Off, files, ..Settings::default() };
        let inventory = Arc::new(Inventory::new(&crate::host::inventory::config::Inventory::default()));
        let reader = Reader::new(&settings, &inventory, &Shared::new(&settings));
        Self { directory, reader }
    }

    fn path(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("{number}.log"))
    }

    /// Looks for files, and at each once.
    fn tick(&mut self) {
        self.reader.looked_for_containers = None;
        self.reader.looked_for_files = None;
        self.reader.tick();
    }

    /// Bytes that are held of all.
    fn held(&self) -> usize {
        self.reader.logs.values().map(|log| log.follow.held() + log.streams.held()).sum()
    }

    /// The sum of what was counted of every file.
    fn sum(&self, number: impl Fn(&LogCounts) -> u64) -> u64 {
        let shared = Shared::of(&self.reader.shared);
        let of_files = shared.counts.of.iter().filter(|(subject, _)| matches!(subject, Subject::File(_)));
        of_files.map(|(_, of)| number(&of.logs[&LogSource::File])).sum()
    }

    fn unknown(&self) -> u64 {
        self.sum(|log| log.messages[Severity::Unknown as usize].total)
    }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn lines_that_are_open_take_8_mib_at_most_of_all_files() {
    const FILES: usize = 160;
    const LENGTH: usize = 60_000;
    let mut case = Case::new();
    for number in 0..FILES {
        append(&case.path(number), &"x".repeat(LENGTH));
    }
    case.tick();
    assert_eq!(case.sum(|log| log.bytes.total), (FILES * LENGTH) as u64);
    let kept = HELD / LENGTH;
    assert_eq!((case.held(), case.unknown()), (kept * LENGTH, (FILES - kept) as u64));
    // The end of what was counted is no message; the next line says that the others are complete.
    for number in 0..FILES {
        append(&case.path(number), " and the end\nnext\n");
    }
    case.tick();
    assert_eq!((case.held(), case.unknown()), (FILES * "next".len(), FILES as u64));
}

#[test]
fn a_file_that_is_made_as_soon_as_the_agent_reads_is_read_from_its_beginning() {
    for _ in 0..50 {
        let mut case = Case::new();
        append(&case.path(0), "first\n");
        case.tick();
        assert_eq!(case.sum(|log| log.bytes.total), 6);
    }
}

#[test]
fn a_line_of_1_gib_holds_64_kib_and_what_is_passed_over_is_counted() {
    const LENGTH: u64 = 1 << 30;
    let mut case = Case::new();
    append(&case.path(0), "ERROR without an end");
    // The rest is a hole, which takes no room on disk and is read as NUL bytes.
    OpenOptions::new().write(true).open(case.path(0)).unwrap().set_len(LENGTH).unwrap();
    while case.sum(|log| log.bytes.total) < LENGTH {
        case.tick();
        assert!(case.held() <= 64 * 1024);
    }
    append(&case.path(0), "\nERROR next\n");
    case.tick();
    let lost = Shared::of(&case.reader.shared).counts.lost[Lost::LineTooLong as usize];
    assert_eq!(lost, LENGTH - 64 * 1024);
    assert_eq!(case.sum(|log| log.messages[Severity::Error as usize].total), 1, "the next one is open");
}
