//! What `conntrack -S` prints, by recorded output of several releases.

use super::fixtures::{bytes, column, cpus, every, line, text};
use connscope::source::conntrack::command;
use connscope::source::conntrack::fields::{Malformed, Statistics};

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
