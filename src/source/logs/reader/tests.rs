//! Reading, on real files and without the thread.

use super::{HELD, Journald, LogSource, POLL, Reader, Settings, Shared};
use crate::host::inventory::Inventory;
use crate::source::logs::config::Files;
use crate::source::logs::counts::LogCounts;
use crate::source::logs::counts::LogOwner;
use crate::source::logs::labels::{LeftOut, Lost};
use crate::source::logs::severity::Severity;
use crate::source::logs::stream::Streams;
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
        Self::of(Settings::default().max_files)
    }

    /// With so many files at most.
    fn of(max_files: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::Paths(vec![format!("{}/*.log", directory.path().display())]);
        let settings = Settings {
            docker: false,
            cri: false,
            journald: Journald::Off,
            files,
            max_files,
            ..Settings::default()
        };
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
        let of_files = shared.counts.of.iter().filter(|(subject, _)| matches!(subject, LogOwner::File(_)));
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

#[test]
fn one_that_is_written_to_as_fast_as_can_be_is_polled_once_and_then_the_others_are() {
    let mut case = Case::new();
    let lines = "INFO as fast as it can\n".repeat(8 * POLL / 23);
    append(&case.path(0), &lines);
    append(&case.path(1), "ERROR once\nERROR twice\n");
    case.reader.looked_for_files = None;
    case.reader.find(true, super::now());
    // Each was polled when it was found.
    let bytes = case.sum(|log| log.bytes.total);
    assert_eq!(bytes, (POLL + 23) as u64);
    append(&case.path(1), "ERROR again\n");
    case.reader.round(|_| true);
    assert_eq!(case.sum(|log| log.bytes.total), bytes + (POLL + 12) as u64);
    assert_eq!(case.sum(|log| log.messages[Severity::Error as usize].total), 2, "the last one is open");
    assert!(case.reader.logs.values().any(|log| log.more));
}

#[test]
fn files_over_the_limit_are_counted_once_each_and_followed_when_there_is_room() {
    const FILES: usize = 300;
    const MAX_FILES: usize = 10;
    let mut case = Case::of(MAX_FILES);
    for number in 0..FILES {
        append(&case.path(number), "line\n");
    }
    let left_out = |case: &Case| Shared::of(&case.reader.shared).counts.left_out[LeftOut::File as usize];
    for _ in 0..3 {
        case.tick();
        assert_eq!((case.reader.logs.len(), left_out(&case)), (MAX_FILES, (FILES - MAX_FILES) as u64));
    }
    let followed: Vec<PathBuf> = case.reader.logs.values().map(|log| log.follow.path().to_owned()).collect();
    for path in followed {
        std::fs::remove_file(path).unwrap();
    }
    append(&case.path(FILES), "line\n");
    for log in case.reader.logs.values_mut() {
        log.follow.end(&mut |_| {});
    }
    case.tick();
    case.tick();
    assert_eq!((case.reader.logs.len(), left_out(&case)), (MAX_FILES, (FILES - MAX_FILES + 1) as u64));
}

#[test]
fn a_file_that_nothing_is_written_to_is_not_looked_at_before_the_next_write() {
    let mut case = Case::new();
    for number in 0..2 {
        append(&case.path(number), "first\n");
    }
    case.tick();
    let bytes = |case: &Case| case.sum(|log| log.bytes.total);
    let late = |case: &mut Case| {
        // The message is open for a second of the clock.
        case.reader.logs.values_mut().for_each(|log| log.streams = Streams::default());
        case.reader.tick();
    };
    for _ in 0..20 {
        late(&mut case);
    }
    assert!(case.reader.logs.values().all(|log| log.awake.is_some()));
    append(&case.path(0), "next\n");
    // Nobody has told the watcher, so the file is found at one look of eight.
    let mut looks = 0;
    while bytes(&case) == 12 {
        late(&mut case);
        looks += 1;
        assert!(looks <= 8);
    }
    for _ in 0..20 {
        late(&mut case);
    }
    // It is told by the watcher.
    append(&case.path(0), "next\n");
    case.reader.watch.gather();
    late(&mut case);
    assert_eq!(bytes(&case), 22);
    assert_eq!(
        case.reader.logs.values().filter(|log| log.awake.is_some()).count(),
        1,
        "the other one is silent"
    );
}
