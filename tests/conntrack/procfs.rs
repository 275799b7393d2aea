//! `/proc/net/stat/nf_conntrack`, by recorded files of several kernels.

use super::fixtures::{column, cpus, every, line, text, words};
use connscope::source::conntrack::fields::{Malformed, Statistics};
use connscope::source::conntrack::procfs;

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

/// A container whose `/sys` is made up.
#[test]
fn loses_nothing_where_the_possible_cpus_are_not_those_of_its_kernel() {
    let four = "entries found\n1 1\n1 2\n1 3\n1 4\n";
    for possible in [&[][..], &[0, 2], &[1], &[0, 1, 2], &[4, 5, 6, 7, 8]] {
        let statistics = procfs::parse(four, TODAYS_KERNEL, possible).unwrap();
        assert_eq!(cpus(&statistics), [0, 1, 2, 3], "{possible:?}");
        assert_eq!(column(&statistics, "found"), [1, 2, 3, 4]);
    }
    let statistics = procfs::parse(four, TODAYS_KERNEL, &[0, 2, 4, 6]).unwrap();
    assert_eq!(cpus(&statistics), [0, 2, 4, 6], "as many as there are rows");
}

#[test]
fn that_does_not_exist_is_missing_for_a_reason_that_is_named() {
    let built_without = "built without CONFIG_NF_CONNTRACK_PROCFS";
    for (loaded, directory, reason, without_module) in [
        (true, true, built_without, false),
        (true, false, built_without, false),
        (false, true, built_without, true),
        (false, false, "is /proc mounted", false),
    ] {
        let why = procfs::missing(loaded, directory);
        assert!(why.contains(reason), "{why}");
        assert_eq!(why.contains("is not loaded"), without_module, "{why}");
    }
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
