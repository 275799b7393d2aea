//! Following, on real files.

use super::{Follow, GENERATIONS, Inode, QUIET, ReadResult, SizesAtStart, UNREAD, open, opening};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// A directory with `app.log`, which is followed, and a clock that goes on when it is told to.
struct Case {
    directory: tempfile::TempDir,
    follow: Follow,
    now: Instant,
    lines: Vec<String>,
    sum: ReadResult,
}

impl Case {
    #[expect(clippy::disallowed_methods, reason = "the clock begins at some time")]
    fn new(since: SystemTime, before: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.log");
        let follow = Follow::new(path, since);
        let case =
            Self { directory, follow, now: Instant::now(), lines: Vec::new(), sum: ReadResult::default() };
        if !before.is_empty() {
            case.write("app.log", before);
        }
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Looks once, after a while; the lines that came.
    fn look(&mut self, after: Duration) -> Vec<String> {
        self.now += after;
        let lines = &mut self.lines;
        let mut buffer = [0; 4096];
        let (poll, _) = self.follow.poll(self.now, &mut buffer, 100, &mut |line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
        });
        self.sum.bytes += poll.bytes;
        self.sum.rotated += poll.rotated;
        self.sum.truncated += poll.truncated;
        std::mem::take(&mut self.lines)
    }

    fn tick(&mut self) -> Vec<String> {
        self.look(Duration::from_millis(250))
    }
}

#[test]
fn what_was_there_before_is_passed_over_and_a_file_that_comes_later_is_read_from_its_beginning() {
    let mut there = Case::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33), "old\n");
    assert!(there.tick().is_empty());
    there.write("app.log", "new\n");
    assert_eq!(there.tick(), ["new"]);
    let mut later = Case::new(SystemTime::UNIX_EPOCH, "");
    assert!(later.tick().is_empty() && later.follow.is_over());
    later.write("app.log", "first\n");
    assert_eq!(later.tick(), ["first"]);
}

#[test]
fn a_file_that_was_renamed_is_read_on_until_it_is_quiet() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "one\n");
    assert_eq!(case.tick(), ["one"]);
    case.write("app.log", "two\n");
    case.rename("app.log", "app.log.1");
    case.write("app.log", "four\n");
    case.write("app.log.1", "three\n");
    assert_eq!(case.tick(), ["two", "three", "four"]);
    case.write("app.log.1", "late, and without an end");
    case.tick();
    case.write("app.log", "five\n");
    assert_eq!(case.look(QUIET / 2), ["five"]);
    assert_eq!(case.look(QUIET), ["late, and without an end"]);
    assert_eq!(case.follow.generations.len(), 1);
    assert_eq!((case.sum.rotated, case.sum.truncated), (0, 0));
}

#[test]
fn files_that_were_renamed_twice_since_the_last_look_are_read_in_their_order() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "1\n");
    case.write("app.log.1", "long ago\n");
    case.follow.begins(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33), SizesAtStart::default());
    assert_eq!(case.tick(), ["1"]);
    case.follow.begins(SystemTime::UNIX_EPOCH, SizesAtStart::default());
    for number in 2..6 {
        case.write("app.log", "rest\n");
        for place in (1..6).rev() {
            if case.path(&format!("app.log.{place}")).exists() {
                case.rename(&format!("app.log.{place}"), &format!("app.log.{}", place + 1));
            }
        }
        case.rename("app.log", "app.log.1");
        case.write("app.log", &format!("{number}\n"));
    }
    assert_eq!(case.tick(), ["rest", "2", "rest", "3", "rest", "4", "rest", "5"]);
    assert_eq!(case.sum.rotated, 0);
}

#[test]
fn a_log_that_was_rotated_before_it_was_found_is_read_from_its_first_file_on() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "");
    for number in [1, 2] {
        case.write("app.log", &format!("{number}\n"));
        case.rename("app.log", &format!("app.log.{}", 3 - number));
    }
    case.write("app.log", "3\n");
    // The watcher has seen one of them, which is removed by now, and counts the others.
    case.write("app.log.9", "0\n");
    let given = open(&case.path("app.log.9")).unwrap();
    std::fs::remove_file(case.path("app.log.9")).unwrap();
    case.follow.give(vec![given], 4);
    let mut lines = case.tick();
    lines.sort();
    assert_eq!(lines, ["0", "1", "2", "3"]);
    assert!(case.tick().is_empty());
}

#[test]
fn of_a_log_that_was_there_before_what_is_beside_it_is_not_read() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "old\n");
    case.write("app.log.1", "older\n");
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33);
    case.follow.begins(later, SizesAtStart::default());
    assert_eq!(
        case.tick(),
        ["old"],
        "the log is made later than the agent was started, the other was there at a look"
    );
    // A copy of a log that is read from its end.
    let mut case = Case::new(later, "old\n");
    case.write("app.log.1", "older\n");
    case.follow.begins(SystemTime::UNIX_EPOCH, SizesAtStart::default());
    assert!(case.tick().is_empty());
}

#[test]
fn of_a_log_that_nobody_wrote_to_at_the_start_what_came_after_is_read_also_once_it_is_renamed() {
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33);
    for renamed in [false, true] {
        let mut case = Case::new(later, "old\n");
        let found = std::fs::metadata(case.path("app.log")).unwrap();
        let sizes = [(opening::id(&found), (opening::known(&found), found.len()))];
        case.follow.begins(SystemTime::UNIX_EPOCH, std::sync::Arc::new(sizes.into()));
        case.write("app.log", "new\n");
        let mut lines = vec!["new"];
        if renamed {
            case.rename("app.log", "app.log.1");
            case.write("app.log", "newest\n");
            // By its stamp it would be old.
            case.follow.begin.since = SystemTime::UNIX_EPOCH;
            lines.push("newest");
        }
        assert_eq!(case.tick(), lines);
    }
}

#[test]
fn a_log_is_quiet_once_all_of_it_was_read_and_nothing_else_is_open() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "");
    case.tick();
    assert!(case.follow.quiet().is_none(), "there is none");
    case.write("app.log", &"0123456\n".repeat(1000));
    case.tick();
    assert!(case.follow.quiet().is_none(), "there is more");
    case.tick();
    assert!(case.follow.quiet().is_some());
    case.rename("app.log", "app.log.1");
    case.write("app.log", "next\n");
    case.tick();
    assert!(case.follow.quiet().is_none(), "the former one may be written to");
    case.look(QUIET);
    assert!(case.follow.quiet().is_some());
}

#[test]
fn what_was_copied_and_cut_off_is_read_to_the_end_of_the_copy() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "one\nhalf of ");
    assert_eq!(case.tick(), ["one"]);
    case.write("app.log", "two\nthree\n");
    std::fs::copy(case.path("app.log"), case.path("app.log.1")).unwrap();
    OpenOptions::new().write(true).truncate(true).open(case.path("app.log")).unwrap();
    case.write("app.log", "four\n");
    assert_eq!(case.tick(), ["half of two", "three", "four"]);
    assert_eq!((case.sum.rotated, case.sum.truncated), (0, 0));
    case.write("app.log", "five\n");
    assert_eq!(case.tick(), ["five"]);
}

#[test]
fn what_was_cut_off_without_a_copy_ends_the_line_and_what_is_known_to_be_lost_is_counted() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "one\nhalf of");
    assert_eq!(case.tick(), ["one"]);
    OpenOptions::new().write(true).truncate(true).open(case.path("app.log")).unwrap();
    case.write("app.log", "two\n");
    assert_eq!(case.tick(), ["half of", "two"]);
    // More than one poll reads: the rest is known when it is cut off.
    let long = "0123456\n".repeat(1000);
    case.write("app.log", &long);
    assert_eq!(case.tick().len(), 512);
    OpenOptions::new().write(true).truncate(true).open(case.path("app.log")).unwrap();
    case.tick();
    assert_eq!(case.sum.truncated, 8000 - 4096);
}

#[test]
fn a_file_that_was_removed_is_read_to_its_end_and_then_closed() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "one\n");
    assert_eq!(case.tick(), ["one"]);
    case.write("app.log", "two\nthree");
    std::fs::remove_file(case.path("app.log")).unwrap();
    assert_eq!(case.tick(), ["two"]);
    assert!(!case.follow.is_over());
    assert_eq!(case.look(QUIET), ["three"]);
    assert!(case.follow.is_over());
}

#[test]
fn files_that_were_opened_when_they_were_made_are_read_also_once_they_are_gone() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "1\n");
    assert_eq!(case.tick(), ["1"]);
    let mut given = Vec::new();
    for number in 2..6 {
        case.rename("app.log", "app.log.1");
        case.write("app.log", &format!("{number}"));
        given.push(open(&case.path("app.log")).unwrap());
        // What comes later is read all the same.
        case.write("app.log", "\n");
    }
    case.follow.give(given, 4);
    assert_eq!(case.tick(), ["2", "3", "4", "5"]);
    // One that could not be opened is found beside it.
    case.rename("app.log", "app.log.2");
    case.write("app.log.1", "6\n");
    case.write("app.log", "7\n");
    case.follow.give(vec![open(&case.path("app.log")).unwrap()], 2);
    let mut lines = case.tick();
    lines.sort();
    assert_eq!(lines, ["6", "7"]);
    assert!(case.tick().is_empty());
    assert_eq!((case.sum.rotated, case.sum.truncated), (0, 0));
}

#[test]
fn of_files_that_are_rotated_faster_than_they_are_read_the_oldest_is_lost_to_the_byte() {
    const LENGTH: u64 = UNREAD / 4 * 3;
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "first\n");
    assert_eq!(case.tick(), ["first"]);
    for number in 0..3 {
        case.rename("app.log", &format!("app.log.{number}"));
        // A hole, which takes no room on disk.
        case.write("app.log", "");
        OpenOptions::new().write(true).open(case.path("app.log")).unwrap().set_len(LENGTH).unwrap();
        case.follow.give(vec![open(&case.path("app.log")).unwrap()], 1);
    }
    case.tick();
    assert_eq!(case.sum.rotated, LENGTH);
    assert_eq!(case.follow.lag() + case.sum.bytes - 6, 2 * LENGTH);
}

fn inode(file: &std::fs::File) -> Inode {
    opening::id(&file.metadata().unwrap())
}

#[test]
fn what_is_not_found_by_its_name_is_read_through_the_descriptor_of_its_writer_as_long_as_that_has_it_open() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "");
    case.write("elsewhere", "one\n");
    let mut writer = OpenOptions::new().append(true).open(case.path("elsewhere")).unwrap();
    let link = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer)));
    let inode = inode(&writer);
    // Another file may be there by now.
    case.follow.also(link.clone(), (inode.0, inode.1 + 1));
    assert!(case.tick().is_empty());
    case.follow.also(link.clone(), inode);
    assert_eq!(case.tick(), ["one"]);
    std::fs::remove_file(case.path("elsewhere")).unwrap();
    writer.write_all(b"two\n").unwrap();
    case.follow.also(link, inode);
    assert_eq!(case.tick(), ["two"]);
    case.follow.keep(inode, case.now + QUIET);
    case.look(QUIET);
    writer.write_all(b"three\n").unwrap();
    assert_eq!(case.tick(), ["three"]);
    case.look(QUIET);
    assert!(case.follow.is_over());
}

#[test]
fn a_descriptor_that_is_no_file_is_not_opened() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "");
    let (reads, writes) = std::io::pipe().unwrap();
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reads));
    case.follow.also(link.into(), (0, 0));
    drop((writes, reads));
    assert!(case.tick().is_empty() && case.follow.is_over());
}

#[test]
fn only_so_many_files_are_open_at_once_and_what_is_left_of_the_others_is_counted() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "first\n");
    assert_eq!(case.tick(), ["first"]);
    case.write("app.log", "rest\n");
    for number in 0..GENERATIONS {
        case.write(&format!("app.log.{number}"), "line\n");
    }
    case.rename("app.log", "app.log-1");
    case.write("app.log", "last\n");
    let lines = case.tick();
    assert_eq!(lines.len(), GENERATIONS);
    assert_eq!(lines.last().unwrap(), "last");
    assert_eq!(case.sum.rotated, 10, "`rest` and the first of the others");
}

#[test]
fn links_fifos_devices_and_directories_are_not_opened() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "");
    case.write("secret", "secret\n");
    let makers: [&dyn Fn(&PathBuf); 4] = [
        &|path| std::os::unix::fs::symlink("secret", path).unwrap(),
        &|path| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
        },
        &|path| std::fs::create_dir(path).unwrap(),
        &|path| {
            // A device that may not be made is one case less: that takes CAP_MKNOD.
            let (kind, mode) =
                (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::from_raw_mode(0o600));
            let null = rustix::fs::makedev(1, 3);
            if rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, null).is_err() {
                std::fs::create_dir(path).unwrap();
            }
        },
    ];
    for make in makers {
        let path = case.path("app.log");
        make(&path);
        let (poll, result) = case.follow.poll(case.now, &mut [0; 64], 100, &mut |_| panic!("it was read"));
        assert_eq!(poll, ReadResult::default());
        assert_eq!(result.unwrap_err().to_string(), "it is not a regular file");
        let _one_of_them = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
    }
}

#[test]
fn below_another_root_no_link_is_followed() {
    let mut case = Case::new(SystemTime::UNIX_EPOCH, "");
    std::fs::create_dir_all(case.path("root/var/log")).unwrap();
    case.write("root/var/log/app.log", "one\n");
    case.write("app.log", "not this\n");
    case.follow = Follow::new("/var/log/app.log".into(), SystemTime::UNIX_EPOCH);
    case.follow.below(case.path("root"));
    assert_eq!(case.tick(), ["one"]);
    case.rename("root/var/log/app.log", "root/var/log/app.log.1");
    case.write("root/var/log/app.log", "two\n");
    assert_eq!(case.tick(), ["two"]);
    case.rename("root/var/log", "root/var/elsewhere");
    std::os::unix::fs::symlink("../..", case.path("root/var/log")).unwrap();
    case.write("root/app.log", "not this either\n");
    assert!(case.tick().is_empty());
}
