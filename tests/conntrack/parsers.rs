//! The three formats of the connection tracking statistics, read from files that kernels and tools wrote.
//!
//! `tests/fixtures/README.md` says where each file comes from. The numbers expected of them are written out here and
//! were taken from the files by eye, not by the parsers.

use connscope::source::conntrack::fields::{EXPECTATIONS, Malformed, Row, STATISTICS, Statistics};
use connscope::source::conntrack::{command, netlink, procfs};
use std::path::{Path, PathBuf};

fn folder(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conntrack").join(format)
}

fn bytes(file: &str) -> Vec<u8> {
    let path = folder(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(file: &str) -> String {
    String::from_utf8(bytes(file)).unwrap()
}

/// Every file of one format, by the end of its name.
fn every(format: &str, ending: &str) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(folder(format))
        .unwrap()
        .map(|entry| format!("{format}/{}", entry.unwrap().file_name().into_string().unwrap()))
        .filter(|name| name.ends_with(ending))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no fixtures in {format}");
    files
}

fn cpus(statistics: &Statistics) -> Vec<u32> {
    statistics.rows.iter().map(|row| row.cpu).collect()
}

fn row(statistics: &Statistics, cpu: u32) -> &Row {
    statistics.rows.iter().find(|row| row.cpu == cpu).unwrap_or_else(|| panic!("no row for CPU {cpu}"))
}

/// All of a row as `word=number`, in its order: nothing may be missing and nothing may be too much.
fn line(statistics: &Statistics, cpu: u32) -> String {
    let fields = &row(statistics, cpu).fields;
    let words: Vec<String> =
        fields.iter().map(|(field, value)| format!("{}={value}", field.word())).collect();
    words.join(" ")
}

fn words(statistics: &Statistics) -> Vec<&str> {
    statistics.rows[0].fields.iter().map(|(field, _)| field.word()).collect()
}

/// One counter on every CPU, in the order of the rows.
fn column(statistics: &Statistics, word: &str) -> Vec<u64> {
    let of_row = |row: &Row| {
        row.fields.iter().find(|(field, _)| field.word() == word).unwrap_or_else(|| panic!("no {word}")).1
    };
    statistics.rows.iter().map(of_row).collect()
}

mod what_the_tool_prints {
    use super::*;

    fn parsed(file: &str) -> Statistics {
        command::parse(&bytes(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn malformed(output: &str) -> Malformed {
        command::parse(output.as_bytes()).unwrap_err()
    }

    #[test]
    fn of_todays_kernel_and_tool_is_read() {
        let statistics = parsed("command/linux-6.18-tool-1.4.7.txt");
        assert_eq!(statistics.rows.len(), 2);
        assert_eq!(statistics.entries, None);
        assert_eq!(
            line(&statistics, 0),
            "found=0 invalid=6 insert=3 insert_failed=0 drop=0 early_drop=0 error=6 search_restart=0 \
             clash_resolve=0 chaintoolong=0"
        );
        assert_eq!(
            line(&statistics, 1),
            "found=4 invalid=10 insert=5 insert_failed=0 drop=0 early_drop=0 error=10 search_restart=0 \
             clash_resolve=0 chaintoolong=0"
        );
    }

    #[test]
    fn of_expectations_is_read() {
        let statistics = parsed("command/linux-6.18-tool-1.4.7-expectations.txt");
        assert_eq!(statistics.rows.len(), 2);
        assert_eq!(line(&statistics, 0), "expect_new=1 expect_create=1 expect_delete=1");
        assert_eq!(line(&statistics, 1), "expect_new=1 expect_create=1 expect_delete=1");
    }

    #[test]
    fn of_kernels_that_count_ignored_packets_is_read() {
        let statistics = parsed("command/ignore-4-cpus.txt");
        assert_eq!(cpus(&statistics), [0, 1, 2, 3]);
        assert_eq!(
            line(&statistics, 2),
            "found=0 invalid=0 ignore=2160 insert=0 insert_failed=0 drop=0 early_drop=0 error=0 \
             search_restart=517"
        );
        assert_eq!(column(&statistics, "ignore"), [2970, 2568, 2160, 2989]);
        assert_eq!(column(&statistics, "search_restart"), [0, 0, 517, 188]);
    }

    #[test]
    fn of_cpus_that_do_not_follow_each_other_keeps_their_numbers() {
        let statistics = parsed("command/ignore-issue-19.txt");
        assert_eq!(cpus(&statistics), [0, 15]);
        assert_eq!(
            line(&statistics, 0),
            "found=50 invalid=43271 ignore=26302191 insert=0 insert_failed=30 drop=30 early_drop=0 error=24 \
             search_restart=1053423"
        );
        assert_eq!(
            line(&statistics, 15),
            "found=49 invalid=42856 ignore=8764532 insert=0 insert_failed=34 drop=34 early_drop=0 error=32 \
             search_restart=526916"
        );
    }

    #[test]
    fn without_a_space_at_the_end_of_the_line_is_read() {
        let statistics = parsed("command/no-ignore-4-cpus.txt");
        assert_eq!(cpus(&statistics), [0, 1, 2, 3]);
        assert_eq!(column(&statistics, "found"), [13, 6, 16, 15]);
        assert_eq!(column(&statistics, "invalid"), [11258, 10298, 17439, 12065]);
        assert_eq!(column(&statistics, "insert"), [1, 6, 11, 0]);
        assert_eq!(column(&statistics, "insert_failed"), [2, 7, 12, 0]);
        assert_eq!(column(&statistics, "drop"), [3, 8, 13, 0]);
        assert_eq!(column(&statistics, "early_drop"), [4, 9, 14, 0]);
        assert_eq!(column(&statistics, "error"), [5, 10, 2, 0]);
        assert_eq!(column(&statistics, "search_restart"), [76531, 64577, 75364, 66740]);
    }

    #[test]
    fn of_kernels_3_6_to_4_8_is_read() {
        let statistics = parsed("command/linux-3.6-to-4.8.txt");
        assert_eq!(
            line(&statistics, 0),
            "searched=202143 found=48658538 new=1320290 invalid=114579 ignore=14786641 delete=1320247 \
             delete_list=757728 insert=757771 insert_failed=0 drop=0 early_drop=0 error=111722 search_restart=0"
        );
    }

    /// Nobody reads these numbers in operation, because of the exit code; the words have to be right all the same.
    #[test]
    fn to_the_unprivileged_has_the_columns_of_procfs_under_the_kernels_words() {
        let statistics = parsed("command/linux-6.18-tool-1.4.7-unprivileged.txt");
        assert_eq!(statistics.entries, Some(16), "two rows repeat the one number");
        assert_eq!(
            line(&statistics, 0),
            "clash_resolve=0 found=0 new=0 invalid=6 ignore=0 delete=0 chaintoolong=0 insert=3 insert_failed=0 \
             drop=0 early_drop=0 error=6 expect_new=1 expect_create=1 expect_delete=1 search_restart=0"
        );
        assert_eq!(
            line(&statistics, 1),
            "clash_resolve=0 found=4 new=0 invalid=10 ignore=0 delete=0 chaintoolong=0 insert=5 insert_failed=0 \
             drop=0 early_drop=0 error=10 expect_new=1 expect_create=1 expect_delete=1 search_restart=0"
        );
        assert_eq!(text("command/linux-6.18-tool-1.4.7-unprivileged.status"), "1\n");
        assert!(text("command/linux-6.18-tool-1.4.7-unprivileged.stderr").contains("CAP_NET_ADMIN"));
    }

    #[test]
    fn keeps_a_counter_nobody_has_heard_of() {
        let statistics = parsed("command/unknown1.txt");
        assert_eq!(column(&statistics, "unknown1"), [7, 4_294_967_295]);
        assert_eq!(column(&statistics, "found"), [0, 4]);
        let later = command::parse(b"cpu=3\tfound=1 new_in_7_3=18446744073709551615 \n").unwrap();
        assert_eq!(line(&later, 3), "found=1 new_in_7_3=18446744073709551615");
    }

    #[test]
    fn is_never_taken_for_numbers_where_it_has_none() {
        assert_eq!(malformed(""), Malformed::Empty);
        assert_eq!(malformed("\n \n\t\n"), Malformed::Empty);
        assert_eq!(command::parse(b"cpu=0\tfound=\xff\n"), Err(Malformed::NotText));
        let word = |line, word: &str| Malformed::Word { line, word: word.to_owned() };
        assert_eq!(malformed("conntrack v1.4.7 (conntrack-tools): 0 flow entries\n"), word(1, "conntrack"));
        assert_eq!(malformed("<html>\n"), word(1, "<html>"));
        for value in ["-1", "+1", "0x1f", "1.5", "1e3", "", "1=2", "١"] {
            let broken = format!("found={value}");
            let escaped =
                Malformed::Word { line: 2, word: broken.chars().flat_map(char::escape_default).collect() };
            assert_eq!(malformed(&format!("cpu=0\tdrop=1\ncpu=1\t{broken} drop=1\n")), escaped);
        }
        assert_eq!(malformed("cpu=0\t=5\n"), word(1, "=5"));
        assert_eq!(malformed("cpu=0\tFound=5\n"), word(1, "Found=5"));
    }

    #[test]
    fn with_a_number_wider_than_64_bits_is_refused() {
        let word = "found=18446744073709551616".to_owned();
        assert_eq!(malformed(&format!("cpu=0\t{word} \n")), Malformed::Word { line: 1, word });
    }

    #[test]
    fn shows_no_more_than_the_beginning_of_a_word_in_an_error() {
        let Malformed::Word { word, .. } = malformed(&"x".repeat(100_000)) else { panic!() };
        assert_eq!(word.len(), 40);
        let Malformed::Word { word, .. } = malformed("\u{1b}[2J") else { panic!() };
        assert_eq!(word, "\\u{1b}[2J", "nothing that a terminal would obey");
    }

    #[test]
    fn has_to_say_which_cpu_each_line_is_of() {
        assert_eq!(malformed("found=1 drop=2\n"), Malformed::NoCpu { line: 1 });
        assert_eq!(malformed("cpu=0\tfound=1\nfound=1 cpu=1\n"), Malformed::NoCpu { line: 2 });
        assert_eq!(malformed("cpu=8192\tfound=1\n"), Malformed::NoSuchCpu(8192));
        assert_eq!(malformed("cpu=4294967296\tfound=1\n"), Malformed::NoSuchCpu(1 << 32));
        assert_eq!(cpus(&command::parse(b"cpu=8191\tfound=1\n").unwrap()), [8191]);
    }

    #[test]
    fn with_anything_twice_is_refused() {
        let twice = |word: &str| Malformed::Twice { line: 1, word: word.to_owned() };
        assert_eq!(malformed("cpu=0\tfound=1\ncpu=0\tfound=1\n"), Malformed::SameCpu(0));
        assert_eq!(malformed("cpu=0\tfound=1 drop=2 found=1\n"), twice("found"));
        assert_eq!(malformed("cpu=0\tcpu=1 found=1\n"), twice("cpu"));
        assert_eq!(malformed("cpu=0\terror=1 icmp_error=1\n"), twice("icmp_error"));
        assert_eq!(malformed("cpu=0\tentries=1 entries=2\n"), twice("entries"));
        assert_eq!(malformed("cpu=0\tunknown1=1 unknown1=2\n"), twice("unknown1"));
    }

    #[test]
    fn may_end_anywhere() {
        for file in every("command", ".txt") {
            let whole = bytes(&file);
            let complete = command::parse(&whole).unwrap();
            for length in 0..whole.len() {
                let Ok(part) = command::parse(&whole[..length]) else { continue };
                assert!(part.rows.len() <= complete.rows.len(), "{file}, {length} bytes");
            }
        }
    }
}

mod what_procfs_shows {
    use super::*;

    const OLD_KERNEL: Option<(u32, u32)> = Some((4, 4));
    const NEWER_KERNEL: Option<(u32, u32)> = Some((4, 19));
    const TODAYS_KERNEL: Option<(u32, u32)> = Some((6, 18));

    fn parsed(file: &str, release: Option<(u32, u32)>, possible: &[u32]) -> Statistics {
        procfs::parse(&text(file), release, possible).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn malformed(text: &str) -> Malformed {
        procfs::parse(text, TODAYS_KERNEL, &[]).unwrap_err()
    }

    #[test]
    fn of_todays_kernel_is_read_under_the_kernels_words() {
        let statistics = parsed("procfs/linux-6.18.txt", TODAYS_KERNEL, &[0, 1]);
        assert_eq!(statistics.entries, Some(16), "two rows repeat the one number");
        assert_eq!(statistics.rows.len(), 2);
        assert_eq!(
            line(&statistics, 0),
            "clash_resolve=0 found=0 invalid=6 chaintoolong=0 insert=3 insert_failed=0 drop=0 early_drop=0 \
             error=6 expect_new=1 expect_create=1 expect_delete=1 search_restart=0"
        );
        assert_eq!(
            line(&statistics, 1),
            "clash_resolve=0 found=4 invalid=10 chaintoolong=0 insert=5 insert_failed=0 drop=0 early_drop=0 \
             error=10 expect_new=1 expect_create=1 expect_delete=1 search_restart=0"
        );
    }

    #[test]
    fn of_eight_cpus_is_read() {
        let statistics = parsed("procfs/old-header-8-rows.txt", NEWER_KERNEL, &[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(statistics.entries, Some(123), "taken once; the sum over the rows would be 984");
        assert_eq!(
            column(&statistics, "invalid"),
            [725_338, 519_909, 9_450_603, 365_071, 209_407, 201_962, 176_752, 194_173]
        );
        assert_eq!(column(&statistics, "ignore"), [132, 104, 87, 105, 89, 102, 85, 87]);
        assert_eq!(column(&statistics, "search_restart"), [74, 53, 37, 100, 59, 84, 61, 66]);
        let always_zero = ["found", "insert", "insert_failed", "drop", "early_drop", "error"];
        for word in always_zero.into_iter().chain(["expect_new", "expect_create", "expect_delete"]) {
            assert_eq!(column(&statistics, word), [0; 8], "{word}");
        }
        assert_eq!(statistics.rows[0].fields.len(), 12);
    }

    #[test]
    fn of_four_cpus_is_read() {
        let statistics = parsed("procfs/old-header-4-rows.txt", NEWER_KERNEL, &[0, 1, 2, 3]);
        assert_eq!(statistics.entries, Some(33));
        assert_eq!(column(&statistics, "invalid"), [3, 2, 1, 47]);
        assert_eq!(column(&statistics, "ignore"), [22_666, 22_180, 22_740, 22_152]);
        assert_eq!(column(&statistics, "search_restart"), [0, 2, 1, 4]);
    }

    #[test]
    fn of_sixteen_columns_has_no_search_restart() {
        let statistics = parsed("procfs/old-header-16-columns.txt", Some((2, 6)), &[0]);
        assert_eq!(statistics.entries, Some(43));
        assert_eq!(
            line(&statistics, 0),
            "searched=202143 found=48658538 new=1320290 invalid=114579 ignore=14786641 delete=1320247 \
             delete_list=757728 insert=757771 insert_failed=0 drop=0 early_drop=0 error=111722 expect_new=0 \
             expect_create=0 expect_delete=0"
        );
    }

    #[test]
    fn between_the_two_headers_is_read_by_name_too() {
        let statistics = parsed("procfs/linux-5.10.txt", Some((5, 10)), &[0, 1, 2, 3]);
        assert_eq!(statistics.entries, Some(4));
        assert_eq!(
            line(&statistics, 1),
            "clash_resolve=0 found=0 invalid=112 insert=0 insert_failed=0 drop=0 early_drop=0 error=0 \
             expect_new=0 expect_create=0 expect_delete=0 search_restart=1"
        );
    }

    #[test]
    fn is_found_by_name_wherever_the_column_stands() {
        let turned = "entries drop brand_new found\n0a 01 02 03\n0a 04 05 06\n";
        let statistics = procfs::parse(turned, TODAYS_KERNEL, &[]).unwrap();
        assert_eq!(line(&statistics, 0), "drop=1 brand_new=2 found=3");
        assert_eq!(line(&statistics, 1), "drop=4 brand_new=5 found=6");
        assert_eq!(statistics.entries, Some(10));
    }

    const DEAD_SINCE_4_9: [&str; 4] = ["searched", "new", "delete", "delete_list"];

    #[test]
    fn by_a_kernel_that_still_counts_it_is_kept_at_zero() {
        let statistics = parsed("procfs/old-header-4-rows.txt", OLD_KERNEL, &[]);
        for word in DEAD_SINCE_4_9 {
            assert_eq!(column(&statistics, word), [0; 4], "{word}");
        }
        assert_eq!(statistics.rows[0].fields.len(), 16);
    }

    #[test]
    fn by_a_kernel_that_no_longer_counts_it_is_left_out() {
        for release in [Some((4, 9)), NEWER_KERNEL, Some((5, 9))] {
            let statistics = parsed("procfs/old-header-4-rows.txt", release, &[]);
            let words = words(&statistics);
            assert!(DEAD_SINCE_4_9.iter().all(|dead| !words.contains(dead)), "{release:?}: {words:?}");
            assert!(words.contains(&"ignore"), "{release:?}: counted until 5.9");
        }
        let statistics = parsed("procfs/linux-6.18.txt", TODAYS_KERNEL, &[]);
        let words = words(&statistics);
        assert!(["new", "delete", "ignore"].iter().all(|dead| !words.contains(dead)), "{words:?}");
    }

    #[test]
    fn ignore_is_left_out_from_5_10_on() {
        let zero = "entries ignore found\n1 0 0\n";
        let words_on = |release| procfs::parse(zero, release, &[]).map(|all| words(&all).join(" ")).unwrap();
        assert_eq!(words_on(Some((5, 9))), "ignore found");
        assert_eq!(words_on(Some((5, 10))), "found");
        assert_eq!(words_on(Some((6, 0))), "found");
        assert_eq!(words_on(None), "found", "a kernel that does not tell is taken for a new one");
    }

    /// Enterprise kernels keep an old release and take the columns of a newer one.
    #[test]
    fn under_a_newer_header_than_the_release_is_that_of_the_header() {
        let statistics = parsed("procfs/linux-5.10.txt", Some((4, 18)), &[]);
        assert!(!words(&statistics).contains(&"ignore"));
        assert!(words(&statistics).contains(&"clash_resolve"));
    }

    #[test]
    fn is_kept_on_all_cpus_where_it_counts_on_one_whatever_the_release() {
        let alive = "entries searched found\n1 0 0\n1 2a 0\n";
        let statistics = procfs::parse(alive, TODAYS_KERNEL, &[]).unwrap();
        assert_eq!(column(&statistics, "searched"), [0, 42]);
    }

    #[test]
    fn has_the_numbers_of_the_possible_cpus() {
        let numbers = |possible: &[u32]| cpus(&parsed("procfs/old-header-4-rows.txt", OLD_KERNEL, possible));
        assert_eq!(numbers(&[0, 1, 2, 3]), [0, 1, 2, 3]);
        assert_eq!(numbers(&[0, 2, 4, 6]), [0, 2, 4, 6]);
        assert_eq!(numbers(&[]), [0, 1, 2, 3], "as they come where nobody says");
    }

    #[test]
    fn is_refused_where_it_is_not_that_file() {
        let word = |line, word: &str| Malformed::Word { line, word: word.to_owned() };
        assert_eq!(malformed(""), Malformed::Empty);
        assert_eq!(malformed("\n"), word(1, ""));
        assert_eq!(malformed("entries found drop\n"), Malformed::Empty);
        assert_eq!(malformed("rt_cache stat\n1 2\n"), word(1, "rt_cache"));
        assert_eq!(malformed("entries found\n00000001 0000000g\n"), word(2, "0000000g"));
        assert_eq!(malformed("entries found\n1 2\n1 -2\n"), word(3, "-2"));
        assert_eq!(malformed("entries found\n1 +2\n"), word(2, "+2"));
        assert_eq!(malformed("entries found\n1 10000000000000000\n"), word(2, "10000000000000000"));
    }

    #[test]
    fn is_refused_where_a_row_does_not_fit_the_header() {
        let columns = |line, found| Malformed::Columns { line, found, expected: 3 };
        assert_eq!(malformed("entries found drop\n1 2\n"), columns(2, 2));
        assert_eq!(malformed("entries found drop\n1 2 3\n1 2 3 4\n"), columns(3, 4));
        assert_eq!(malformed("entries found drop\n1 2 3\n\n"), columns(3, 0));
    }

    #[test]
    fn with_anything_twice_is_refused() {
        let twice = |word: &str| Malformed::Twice { line: 1, word: word.to_owned() };
        assert_eq!(malformed("entries found drop found\n1 2 3 4\n"), twice("found"));
        assert_eq!(malformed("entries error icmp_error\n1 2 3\n"), twice("icmp_error"));
        assert_eq!(malformed("entries found entries\n1 2 3\n"), twice("entries"));
        let same = procfs::parse("entries found\n1 2\n1 3\n", TODAYS_KERNEL, &[5, 5]);
        assert_eq!(same, Err(Malformed::SameCpu(5)));
    }

    #[test]
    fn of_more_cpus_than_there_can_be_is_refused() {
        let rows = format!("entries found\n{}", "1 2\n".repeat(8193));
        assert_eq!(malformed(&rows), Malformed::NoSuchCpu(8192));
    }

    #[test]
    fn may_end_anywhere() {
        for file in every("procfs", ".txt") {
            let whole = text(&file);
            for release in [None, OLD_KERNEL, NEWER_KERNEL, TODAYS_KERNEL] {
                let complete = procfs::parse(&whole, release, &[]).unwrap();
                for length in 0..whole.len() {
                    let Ok(part) = procfs::parse(whole.get(..length).unwrap(), release, &[]) else {
                        continue;
                    };
                    assert!(part.rows.len() <= complete.rows.len(), "{file}, {length} bytes");
                }
            }
        }
    }
}

mod what_netlink_answers {
    use super::*;
    use connscope::netlink::Progress;
    use netlink::Global;

    const SEQUENCE: u32 = 1;

    fn dump(datagrams: &[&[u8]]) -> (Statistics, Vec<Progress>) {
        let mut statistics = Statistics::default();
        let parse =
            |datagram: &&[u8]| netlink::parse_dump(datagram, SEQUENCE, STATISTICS, &mut statistics).unwrap();
        let progress = datagrams.iter().map(parse).collect();
        (statistics, progress)
    }

    fn dumped(datagram: &[u8]) -> Result<Progress, Malformed> {
        netlink::parse_dump(datagram, SEQUENCE, STATISTICS, &mut Statistics::default())
    }

    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + payload.len()).unwrap();
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(sequence.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(payload);
        message
    }

    fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + payload.len()).unwrap();
        let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        attribute.extend(payload);
        attribute.resize(attribute.len().next_multiple_of(4), 0);
        attribute
    }

    fn number(kind: u16, value: u32) -> Vec<u8> {
        attribute(kind, &value.to_be_bytes())
    }

    /// One message of a dump of statistics.
    fn row_of(cpu: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
        let payload = [[&[0, 0], cpu.to_be_bytes().as_slice()].concat(), attributes.concat()].concat();
        message(0x0104, 2, SEQUENCE, &payload)
    }

    #[test]
    fn is_asked_for_with_the_bytes_that_were_recorded() {
        if cfg!(target_endian = "little") {
            let statistics = [20, 0, 0, 0, 4, 1, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(netlink::request(0x0104, 0x0301, 1), statistics);
            let global = [20, 0, 0, 0, 5, 1, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(netlink::request(0x0105, 0x0005, 1), global);
        }
    }

    #[test]
    #[cfg_attr(target_endian = "big", ignore = "recorded on a little-endian machine")]
    fn of_todays_kernel_is_read_under_the_real_numbers_of_the_cpus() {
        let (rows, done) =
            (bytes("netlink/linux-6.18-statistics.1.bin"), bytes("netlink/linux-6.18-statistics.2.bin"));
        let (statistics, progress) = dump(&[&rows, &done]);
        assert_eq!(progress, [Progress::More, Progress::Done]);
        assert_eq!(statistics.entries, None);
        assert_eq!(statistics.rows.len(), 2);
        assert_eq!(
            line(&statistics, 0),
            "found=0 invalid=6 insert=3 insert_failed=0 drop=0 early_drop=0 error=6 search_restart=0 \
             clash_resolve=0 chaintoolong=0"
        );
        assert_eq!(
            line(&statistics, 1),
            "found=4 invalid=10 insert=5 insert_failed=0 drop=0 early_drop=0 error=10 search_restart=0 \
             clash_resolve=0 chaintoolong=0"
        );
    }

    #[test]
    #[cfg_attr(target_endian = "big", ignore = "recorded on a little-endian machine")]
    fn of_three_inserts_is_read() {
        let (rows, done) = (
            bytes("netlink/linux-6.18-three-inserts.1.bin"),
            bytes("netlink/linux-6.18-three-inserts.2.bin"),
        );
        let (statistics, progress) = dump(&[&rows, &done]);
        assert_eq!(progress, [Progress::More, Progress::Done]);
        assert_eq!(cpus(&statistics), [0, 1]);
        assert_eq!(column(&statistics, "insert"), [0, 3]);
        let sum: u64 = statistics.rows.iter().flat_map(|row| &row.fields).map(|(_, value)| value).sum();
        assert_eq!(sum, 3, "all others are 0");
    }

    #[test]
    #[cfg_attr(target_endian = "big", ignore = "laid out for a little-endian machine")]
    fn of_kernels_3_6_to_4_8_is_read() {
        let (statistics, progress) = dump(&[&bytes("netlink/linux-3.6-to-4.8-statistics.1.bin")]);
        assert_eq!(progress, [Progress::More]);
        assert_eq!(
            line(&statistics, 0),
            "searched=202143 found=48658538 new=1320290 invalid=114579 ignore=14786641 delete=1320247 \
             delete_list=757728 insert=757771 insert_failed=0 drop=0 early_drop=0 error=111722 search_restart=0"
        );
    }

    #[test]
    #[cfg_attr(target_endian = "big", ignore = "recorded on a little-endian machine")]
    fn of_expectations_is_read_though_its_type_is_another() {
        let rows = bytes("netlink/linux-6.18-expectations.1.bin");
        assert_eq!(rows[4..6], [0x03, 0x01], "asked for 0x0203");
        let mut statistics = Statistics::default();
        let progress = netlink::parse_dump(&rows, SEQUENCE, EXPECTATIONS, &mut statistics);
        assert_eq!(progress, Ok(Progress::More));
        assert_eq!(cpus(&statistics), [0, 1]);
        assert_eq!(line(&statistics, 0), "expect_new=1 expect_create=1 expect_delete=1");
        assert_eq!(line(&statistics, 1), "expect_new=1 expect_create=1 expect_delete=1");
        let done = bytes("netlink/linux-6.18-expectations.2.bin");
        let progress = netlink::parse_dump(&done, SEQUENCE, EXPECTATIONS, &mut statistics);
        assert_eq!(progress, Ok(Progress::Done));
    }

    #[test]
    #[cfg_attr(target_endian = "big", ignore = "recorded on a little-endian machine")]
    fn of_the_table_is_one_message_that_no_end_follows() {
        let mut global = Global::default();
        let progress =
            netlink::parse_global(&bytes("netlink/linux-6.18-global.1.bin"), SEQUENCE, &mut global);
        assert_eq!(progress, Ok(Progress::More));
        assert_eq!(global, Global { entries: Some(16), limit: Some(262_144) });

        let mut global = Global::default();
        let acknowledged = [1, 2].map(|part| {
            let datagram = bytes(&format!("netlink/linux-6.18-global-acknowledged.{part}.bin"));
            netlink::parse_global(&datagram, SEQUENCE, &mut global).unwrap()
        });
        assert_eq!(acknowledged, [Progress::More, Progress::Done]);
        assert_eq!(global, Global { entries: Some(16), limit: Some(262_144) });
    }

    #[test]
    fn of_the_table_has_no_limit_before_4_18() {
        let mut global = Global::default();
        let answer = message(0x0105, 2, SEQUENCE, &[vec![0; 4], number(1, 434)].concat());
        assert_eq!(netlink::parse_global(&answer, SEQUENCE, &mut global), Ok(Progress::More));
        assert_eq!(global, Global { entries: Some(434), limit: None });
    }

    #[test]
    #[cfg_attr(target_endian = "big", ignore = "recorded on a little-endian machine")]
    fn to_the_unprivileged_is_a_refusal() {
        let refusal = bytes("netlink/linux-6.18-refused.1.bin");
        assert_eq!(dumped(&refusal), Ok(Progress::Refused(1)));
        let mut global = Global::default();
        assert_eq!(netlink::parse_global(&refusal, SEQUENCE, &mut global), Ok(Progress::Refused(1)));
        assert_eq!(global, Global::default());
    }

    #[test]
    fn keeps_attributes_nobody_has_heard_of_under_the_name_the_tool_gives_them() {
        let (statistics, _) = dump(&[&row_of(7, &[number(2, 5), number(16, 7), number(17, u32::MAX)])]);
        assert_eq!(line(&statistics, 7), "found=5 unknown1=7 unknown2=4294967295");
        let tool = command::parse(&bytes("command/unknown1.txt")).unwrap();
        assert_eq!(column(&tool, "unknown1")[0], 7);
    }

    #[test]
    fn of_another_shape_than_a_number_is_passed_over_only_where_it_is_unknown() {
        let nested = attribute(16 | 0x8000, &number(1, 2));
        let text = attribute(17, b"text\0");
        let (statistics, _) = dump(&[&row_of(0, &[number(2, 5), nested, text, number(4, 6)])]);
        assert_eq!(words(&statistics)[..1], ["found"]);
        assert_eq!(column(&statistics, "invalid"), [6], "what follows is still found, past the padding");
        let short = row_of(0, &[attribute(10, &[1, 2])]);
        assert_eq!(dumped(&short), Err(Malformed::Length { number: 10, length: 2 }));
    }

    #[test]
    fn in_64_bits_is_read_too_should_a_kernel_ever_count_so() {
        let wide = row_of(0, &[attribute(10, &(1u64 << 40).to_be_bytes())]);
        assert_eq!(column(&dump(&[&wide]).0, "drop"), [1 << 40]);
    }

    #[test]
    fn over_several_datagrams_is_one_answer() {
        let first = [row_of(0, &[number(10, 1)]), row_of(1, &[number(10, 2)])].concat();
        let second = [row_of(255, &[number(10, 3)]), message(3, 2, SEQUENCE, &[0; 4])].concat();
        let (statistics, progress) = dump(&[&first, &second]);
        assert_eq!(progress, [Progress::More, Progress::Done]);
        assert_eq!(cpus(&statistics), [0, 1, 255]);
        assert_eq!(column(&statistics, "drop"), [1, 2, 3]);
    }

    #[test]
    fn to_an_earlier_question_is_passed_over() {
        let mut late = row_of(0, &[number(10, 1)]);
        late[8..12].copy_from_slice(&9u32.to_ne_bytes());
        let late_end = message(3, 2, 9, &[0; 4]);
        let late_refusal = message(2, 0, 9, &[&(-1i32).to_ne_bytes()[..], &[0; 16]].concat());
        let datagram = [late, late_end, late_refusal, row_of(0, &[number(10, 2)])].concat();
        let (statistics, progress) = dump(&[&datagram]);
        assert_eq!(progress, [Progress::More]);
        assert_eq!(column(&statistics, "drop"), [2]);
    }

    #[test]
    fn that_does_not_hold_together_is_interrupted() {
        let mut torn = row_of(0, &[number(10, 1)]);
        torn[6..8].copy_from_slice(&0x12u16.to_ne_bytes());
        assert_eq!(dumped(&torn), Ok(Progress::Interrupted), "NLM_F_DUMP_INTR");
        assert_eq!(dumped(&message(4, 0, SEQUENCE, &[])), Ok(Progress::Interrupted), "NLMSG_OVERRUN");
    }

    #[test]
    fn with_an_error_number_is_a_refusal_and_with_none_the_end() {
        let error = |number: i32| message(2, 0, SEQUENCE, &[&number.to_ne_bytes()[..], &[0; 16]].concat());
        assert_eq!(dumped(&error(-1)), Ok(Progress::Refused(1)));
        assert_eq!(dumped(&error(-22)), Ok(Progress::Refused(22)));
        assert_eq!(dumped(&error(0)), Ok(Progress::Done));
        assert_eq!(dumped(&error(i32::MIN)), Ok(Progress::Refused(i32::MAX)));
        assert_eq!(dumped(&message(2, 0, SEQUENCE, &[0, 0])), Err(Malformed::CutOff(2)));
    }

    /// `netlink_dump` puts what the dump function returned into the message that ends the dump.
    #[test]
    fn that_ends_with_an_error_number_is_a_refusal() {
        let end = |number: i32| message(3, 2, SEQUENCE, &number.to_ne_bytes());
        let rows = row_of(0, &[number(10, 1)]);
        assert_eq!(dumped(&[rows.clone(), end(-12)].concat()), Ok(Progress::Refused(12)));
        assert_eq!(dumped(&[rows.clone(), end(0)].concat()), Ok(Progress::Done));
        assert_eq!(dumped(&[rows, message(3, 2, SEQUENCE, &[])].concat()), Ok(Progress::Done));
    }

    #[test]
    fn with_anything_twice_is_refused() {
        let twice = [row_of(3, &[number(10, 1)]), row_of(3, &[number(10, 1)])].concat();
        assert_eq!(dumped(&twice), Err(Malformed::SameCpu(3)));
        let again = row_of(3, &[number(10, 1), number(2, 0), number(10, 2)]);
        assert_eq!(dumped(&again), Err(Malformed::Repeated(10)));
    }

    #[test]
    fn for_a_cpu_there_cannot_be_is_refused() {
        assert_eq!(dumped(&row_of(8192, &[number(10, 1)])), Err(Malformed::NoSuchCpu(8192)));
        assert_eq!(dumped(&row_of(u16::MAX, &[number(10, 1)])), Err(Malformed::NoSuchCpu(65535)));
    }

    #[test]
    fn with_lengths_that_are_not_true_is_refused() {
        let whole = row_of(0, &[number(10, 1), number(11, 2)]);
        for length in [0u32, 1, 15, 45, u32::MAX] {
            let mut lying = whole.clone();
            lying[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(dumped(&lying), Err(Malformed::CutOff(whole.len())), "message of {length}");
        }
        for length in [0u16, 3, 17, u16::MAX] {
            let mut lying = whole.clone();
            lying[20..22].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(dumped(&lying), Err(Malformed::CutOff(16)), "attribute of {length}");
        }
        let mut unaligned = whole.clone();
        unaligned[..4].copy_from_slice(&35u32.to_ne_bytes());
        assert_eq!(dumped(&unaligned), Err(Malformed::CutOff(7)), "ends within the second attribute");
        assert_eq!(dumped(&message(0x0104, 2, SEQUENCE, &[0, 0])), Err(Malformed::CutOff(2)));
        assert_eq!(dumped(&[0; 3]), Err(Malformed::CutOff(3)));
    }

    #[test]
    fn may_be_empty_of_counters() {
        let (statistics, progress) = dump(&[&row_of(0, &[]), &[]]);
        assert_eq!(progress, [Progress::More, Progress::More]);
        assert_eq!(line(&statistics, 0), "");
    }

    #[test]
    fn may_end_anywhere() {
        for file in every("netlink", ".bin") {
            let whole = bytes(&file);
            for length in 0..=whole.len() {
                for known in [STATISTICS, EXPECTATIONS] {
                    let mut statistics = Statistics::default();
                    let result = netlink::parse_dump(&whole[..length], SEQUENCE, known, &mut statistics);
                    assert!(statistics.rows.len() <= 2, "{file}, {length} bytes: {result:?}");
                }
                let mut global = Global::default();
                let result = netlink::parse_global(&whole[..length], SEQUENCE, &mut global);
                assert!(global.entries.is_none_or(|entries| entries < 1 << 32), "{file}: {result:?}");
            }
        }
    }
}

mod bytes_nobody_wrote {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn are_refused_or_read_by_every_parser(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(command::parse(&noise));
            drop(procfs::parse(&String::from_utf8_lossy(&noise), None, &[0, 1]));
            drop(netlink::parse_dump(&noise, 1, STATISTICS, &mut Statistics::default()));
            drop(netlink::parse_global(&noise, 1, &mut netlink::Global::default()));
        }

        /// Noise alone is stopped at the first word; noise within a good answer goes everywhere.
        #[test]
        fn within_an_answer_are_refused_or_read(
            file in prop::sample::select(
                [every("command", ".txt"), every("procfs", ".txt"), every("netlink", ".bin")].concat(),
            ),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut noise = bytes(&file);
            for (place, byte) in changes {
                let place = place.index(noise.len());
                noise[place] = byte;
            }
            drop(command::parse(&noise));
            drop(procfs::parse(&String::from_utf8_lossy(&noise), Some((4, 4)), &[0, 1]));
            drop(netlink::parse_dump(&noise, 1, STATISTICS, &mut Statistics::default()));
            drop(netlink::parse_global(&noise, 1, &mut netlink::Global::default()));
        }
    }
}
