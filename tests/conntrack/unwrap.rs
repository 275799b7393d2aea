//! From 32 bits to 64: what the kernel would have counted, had its counters been wide enough.
//!
//! The property tests keep the true 64-bit counters themselves, show the unwrapper what a kernel with 32 bits would,
//! and want the true ones back.

use connscope::host::netns;
use connscope::source::conntrack::fields::{Field, Row};
use connscope::source::conntrack::unwrap::Unwrapper;
use connscope::sys::namespace::Identity;
use proptest::prelude::*;
use std::collections::BTreeMap;

const WIDTH: u64 = 1 << 32;
const HERE: Identity = Identity::Cookie(1);

/// Rows of the one CPU 0.
fn one(counters: &[(&str, u64)]) -> Vec<Row> {
    vec![Row { cpu: 0, fields: counters.iter().map(|(word, value)| (Field::named(word), *value)).collect() }]
}

fn values(rows: &[Row]) -> Vec<u64> {
    rows.iter().flat_map(|row| &row.fields).map(|(_, value)| *value).collect()
}

/// One reading of one namespace.
fn read(unwrapper: &mut Unwrapper, namespace: Identity, mut rows: Vec<Row>) -> Vec<u64> {
    unwrapper.unwrap(namespace, &mut rows);
    unwrapper.forget_unseen();
    values(&rows)
}

#[test]
fn a_counter_that_wraps_goes_on() {
    let mut unwrapper = Unwrapper::default();
    let mut drop = |value| read(&mut unwrapper, HERE, one(&[("drop", value)]))[0];
    assert_eq!(drop(4_294_967_290), 4_294_967_290);
    assert_eq!(drop(4_294_967_295), 4_294_967_295);
    assert_eq!(drop(3), 4_294_967_299);
    assert_eq!(drop(10), 4_294_967_306);
    assert_eq!(drop(10), 4_294_967_306);
    assert_eq!(drop(2_147_483_658), 6_442_450_954);
    assert_eq!(drop(0), 8_589_934_592, "exactly 0 after a wrap");
}

#[test]
fn a_step_of_exactly_2_31_is_still_a_wrap() {
    let mut unwrapper = Unwrapper::default();
    let mut drop = |value| read(&mut unwrapper, HERE, one(&[("drop", value)]))[0];
    assert_eq!(drop((1 << 31) + 5), (1 << 31) + 5);
    assert_eq!(drop(5), WIDTH + 5);
}

#[test]
fn two_that_wrap_in_one_interval_while_others_stand_still_have_wrapped() {
    let mut unwrapper = Unwrapper::default();
    let mut all = |found, drop, invalid| {
        read(&mut unwrapper, HERE, one(&[("found", found), ("drop", drop), ("invalid", invalid)]))
    };
    all(4_000_000_000, 4_294_967_295, 7);
    assert_eq!(all(1, 0, 7), [WIDTH + 1, WIDTH, 7]);
}

#[test]
fn all_back_at_zero_is_a_beginning() {
    let mut unwrapper = Unwrapper::default();
    let mut all = |found, drop, invalid| {
        read(&mut unwrapper, HERE, one(&[("found", found), ("drop", drop), ("invalid", invalid)]))
    };
    all(3_000_000_000, 4_294_967_000, 0);
    assert_eq!(all(0, 0, 0), [0, 0, 0]);
    assert_eq!(all(2, 5, 1), [2, 5, 1]);
}

/// Which of the two it was cannot be known; a wrap of everything in one interval is the less likely one.
#[test]
fn all_back_is_a_beginning_even_where_each_alone_could_have_wrapped() {
    let mut unwrapper = Unwrapper::default();
    let mut all = |found, drop| read(&mut unwrapper, HERE, one(&[("found", found), ("drop", drop)]));
    all(4_294_967_290, 4_294_967_290);
    assert_eq!(all(40, 50), [40, 50]);
}

/// A reset in which one counter has already passed what it was.
#[test]
fn many_back_at_once_is_a_beginning_though_one_went_on() {
    let mut unwrapper = Unwrapper::default();
    let mut all = |values: [u64; 4]| {
        let [invalid, drop, failed, found] = values;
        let counters = [("invalid", invalid), ("drop", drop), ("insert_failed", failed), ("found", found)];
        read(&mut unwrapper, HERE, one(&counters))
    };
    all([3, 3_000_000_000, 3_100_000_000, 2_900_000_000]);
    assert_eq!(all([9, 1, 2, 1]), [9, 1, 2, 1]);
    assert_eq!(all([9, 2, 2, 1]), [9, 2, 2, 1]);
}

#[test]
fn one_back_too_far_to_have_wrapped_is_a_beginning_for_the_whole_namespace() {
    let mut unwrapper = Unwrapper::default();
    let mut all = |found, drop| read(&mut unwrapper, HERE, one(&[("found", found), ("drop", drop)]));
    all(4_294_967_295, 9);
    assert_eq!(all(4, 10), [WIDTH + 4, 10]);
    assert_eq!(all(4, 9), [4, 9], "a step of nearly 2^32 is none");
    assert_eq!(all(5, 10), [5, 10]);
}

#[test]
fn a_beginning_on_one_cpu_is_one_on_all() {
    let both = |first, second| {
        let mut rows = one(&[("drop", first)]);
        rows.push(Row { cpu: 1, ..one(&[("drop", second)]).remove(0) });
        rows
    };
    let mut unwrapper = Unwrapper::default();
    read(&mut unwrapper, HERE, both(4_294_967_295, 20));
    assert_eq!(read(&mut unwrapper, HERE, both(1, 20)), [WIDTH + 1, 20]);
    assert_eq!(read(&mut unwrapper, HERE, both(2, 3)), [2, 3]);
}

#[test]
fn a_value_wider_than_32_bits_never_wraps() {
    let mut unwrapper = Unwrapper::default();
    let mut drop = |value| read(&mut unwrapper, HERE, one(&[("drop", value)]))[0];
    assert_eq!(drop(u64::MAX), u64::MAX);
    assert_eq!(drop(u64::MAX - 1), u64::MAX - 1);
    assert_eq!(drop(7), 7);
}

#[test]
fn another_namespace_under_the_same_name_begins_anew() {
    let mut unwrapper = Unwrapper::default();
    read(&mut unwrapper, Identity::Cookie(4), one(&[("drop", 4_294_967_295)]));
    read(&mut unwrapper, Identity::Cookie(4), one(&[("drop", 6)]));
    for other in [Identity::Cookie(5), Identity::Inode(4)] {
        assert_eq!(read(&mut unwrapper, other, one(&[("drop", 2)])), [2]);
        assert_eq!(read(&mut unwrapper, other, one(&[("drop", 3)])), [3]);
    }
    assert_eq!(read(&mut unwrapper, Identity::Cookie(4), one(&[("drop", 6)])), [WIDTH + 6]);
}

#[test]
fn a_counter_that_moves_to_another_column_is_the_same_counter() {
    let mut unwrapper = Unwrapper::default();
    read(&mut unwrapper, HERE, one(&[("found", 5), ("error", 4_294_967_295), ("search_restart", 8)]));
    let by_procfs = one(&[("found", 5), ("expect_new", 1), ("search_restart", 8), ("icmp_error", 2)]);
    assert_eq!(read(&mut unwrapper, HERE, by_procfs), [5, 1, 8, WIDTH + 2]);
    let by_netlink = one(&[("error", 3), ("found", 6)]);
    assert_eq!(read(&mut unwrapper, HERE, by_netlink), [WIDTH + 3, 6]);
    let again = one(&[("found", 6), ("search_restart", 9)]);
    assert_eq!(read(&mut unwrapper, HERE, again), [6, 9], "one that was missing is not forgotten");
}

#[test]
fn a_namespace_that_fails_for_a_while_keeps_its_totals() {
    let mut unwrapper = Unwrapper::default();
    read(&mut unwrapper, HERE, one(&[("drop", 4_294_967_295)]));
    read(&mut unwrapper, HERE, one(&[("drop", 1)]));
    for _ in 0..50 {
        read(&mut unwrapper, Identity::Cookie(2), one(&[("drop", 1)]));
    }
    assert_eq!(read(&mut unwrapper, HERE, one(&[("drop", 2)])), [WIDTH + 2]);
}

#[test]
fn a_namespace_that_is_gone_for_long_is_forgotten() {
    let mut unwrapper = Unwrapper::default();
    read(&mut unwrapper, HERE, one(&[("drop", 4_294_967_295)]));
    read(&mut unwrapper, HERE, one(&[("drop", 1)]));
    for _ in 0..100 {
        unwrapper.forget_unseen();
    }
    assert_eq!(read(&mut unwrapper, HERE, one(&[("drop", 2)])), [2]);
}

#[test]
fn of_more_namespaces_than_there_can_be_the_longest_gone_are_forgotten() {
    let mut unwrapper = Unwrapper::default();
    let wrapped = |unwrapper: &mut Unwrapper, namespace| {
        unwrapper.unwrap(namespace, &mut one(&[("drop", 4_294_967_295)]));
        unwrapper.unwrap(namespace, &mut one(&[("drop", 0)]));
    };
    let others = 100..100 + 2 * netns::NAMESPACES as u64;
    wrapped(&mut unwrapper, HERE);
    unwrapper.forget_unseen();
    for namespace in others.clone() {
        wrapped(&mut unwrapper, Identity::Cookie(namespace));
    }
    unwrapper.forget_unseen();
    for namespace in others {
        let total = read_only(&mut unwrapper, Identity::Cookie(namespace));
        assert_eq!(total, WIDTH, "namespace {namespace} was there in the last reading");
    }
    assert_eq!(read_only(&mut unwrapper, HERE), 0, "gone longer than all others");
}

fn read_only(unwrapper: &mut Unwrapper, namespace: Identity) -> u64 {
    let mut rows = one(&[("drop", 0)]);
    unwrapper.unwrap(namespace, &mut rows);
    values(&rows)[0]
}

const WORDS: [&str; 4] = ["invalid", "drop", "search_restart", "unknown1"];
const CPUS: u32 = 3;
const NAMESPACES: u64 = 3;

/// Counts something small on CPU 0 and never wraps: with it, what all others do at once cannot be a beginning.
const STEADY: &str = "found";

/// What one counter does in one interval: mostly little, sometimes as much as can be told.
fn step() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 3 => 1..1000u64, 4 => 0..1u64 << 30, 1 => Just((1 << 30) - 1)]
}

/// What all counters of one namespace do in one interval, and on how many CPUs it shows them.
#[derive(Debug, Clone)]
struct Interval {
    namespace: u64,
    cpus: u32,
    steps: Vec<u64>,
}

fn interval() -> impl Strategy<Value = Interval> {
    let steps = prop::collection::vec(step(), WORDS.len() * CPUS as usize);
    (0..NAMESPACES, 1..=CPUS, steps).prop_map(|(namespace, cpus, steps)| Interval { namespace, cpus, steps })
}

/// The true counters of one namespace.
#[derive(Debug, Clone, Default)]
struct Truth {
    cpus: u32,
    counters: BTreeMap<(u32, &'static str), u64>,
}

impl Truth {
    /// CPUs that are new begin with `first`, which a kernel of 32 bits can show; the others count on. A CPU that has
    /// appeared stays.
    fn advance(&mut self, interval: &Interval, first: &[u64]) {
        let there = self.cpus;
        self.cpus = there.max(interval.cpus);
        *self.counters.entry((0, STEADY)).or_default() += 1;
        for cpu in 0..self.cpus {
            for (index, word) in WORDS.into_iter().enumerate() {
                let index = cpu as usize * WORDS.len() + index;
                let counter = self.counters.entry((cpu, word)).or_insert(first[index]);
                if cpu < there {
                    *counter += interval.steps[index];
                }
            }
        }
    }

    fn rows(&self, width: u64) -> Vec<Row> {
        let mut rows: BTreeMap<u32, Vec<(Field, u64)>> = BTreeMap::new();
        for ((cpu, word), value) in &self.counters {
            rows.entry(*cpu).or_default().push((Field::named(word), value % width));
        }
        rows.into_iter().map(|(cpu, fields)| Row { cpu, fields }).collect()
    }

    fn shown(&self) -> Vec<Row> {
        self.rows(WIDTH)
    }

    fn whole(&self) -> Vec<Row> {
        self.rows(u64::MAX)
    }
}

fn first_values() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![Just(0), 0..WIDTH, Just(WIDTH - 1)], WORDS.len() * CPUS as usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn totals_are_what_a_64_bit_kernel_would_have_counted(
        intervals in prop::collection::vec(interval(), 1..60),
        first in first_values(),
    ) {
        let mut unwrapper = Unwrapper::default();
        let mut truths: BTreeMap<u64, Truth> = BTreeMap::new();
        for interval in &intervals {
            let truth = truths.entry(interval.namespace).or_default();
            truth.advance(interval, &first);
            let mut rows = truth.shown();
            unwrapper.unwrap(Identity::Cookie(interval.namespace), &mut rows);
            prop_assert_eq!(rows, truth.whole());
            unwrapper.forget_unseen();
        }
    }

    /// The module is loaded again: everything begins at 0 and may have counted a little since.
    #[test]
    fn a_reset_is_never_a_wrap(
        before in prop::collection::vec(interval(), 1..20),
        first in first_values(),
        since in prop::collection::vec(0..1000u64, WORDS.len() * CPUS as usize),
        after in prop::collection::vec(interval(), 0..20),
    ) {
        let mut unwrapper = Unwrapper::default();
        let mut truth = Truth::default();
        for interval in &before {
            truth.advance(interval, &first);
            unwrapper.unwrap(HERE, &mut truth.shown());
        }
        for counter in truth.counters.values_mut() {
            *counter = 0;
        }
        // The counter that stood at a few on CPU 0 stands at 0: further back than a wrap could have brought it.
        let words = truth.counters.iter_mut().filter(|((_, word), _)| *word != STEADY);
        for ((_, counter), since) in words.zip(since) {
            *counter = since;
        }
        let mut rows = truth.shown();
        unwrapper.unwrap(HERE, &mut rows);
        prop_assert_eq!(rows, truth.whole());
        for interval in &after {
            truth.advance(interval, &first);
            let mut rows = truth.shown();
            unwrapper.unwrap(HERE, &mut rows);
            prop_assert_eq!(rows, truth.whole());
        }
    }

    /// Without a small counter to tell by: two or more had a value, and all of them are lower than they were.
    #[test]
    fn everything_lower_than_before_is_a_reset(
        before in prop::collection::vec((1..WIDTH, any::<prop::sample::Index>()), 2..=WORDS.len()),
        steps in prop::collection::vec(0..1u64 << 31, WORDS.len()),
    ) {
        let shown = |values: &mut dyn Iterator<Item = u64>| {
            one(&WORDS.into_iter().zip(values).collect::<Vec<_>>())
        };
        let lower: Vec<u64> = before
            .iter()
            .map(|(last, lower)| lower.index(usize::try_from(*last).unwrap()) as u64)
            .collect();
        let mut unwrapper = Unwrapper::default();
        read(&mut unwrapper, HERE, shown(&mut before.iter().map(|(last, _)| *last)));
        let again = read(&mut unwrapper, HERE, shown(&mut lower.iter().copied()));
        prop_assert_eq!(&again, &lower);
        // One alone goes on, so that what follows is no second reset.
        let mut next = lower;
        next[0] += steps[0];
        let totals = read(&mut unwrapper, HERE, shown(&mut next.iter().map(|value| value % WIDTH)));
        prop_assert_eq!(totals, next);
    }

    #[test]
    fn totals_never_go_back_while_nothing_is_reset(
        values in prop::collection::vec(0..WIDTH, 2..100),
    ) {
        // One counter that may do anything, beside one that stands still: each step is a wrap or an advance, or too
        // far back, which is a beginning and shows the kernel's own value.
        let mut unwrapper = Unwrapper::default();
        let mut last = 0;
        for value in values {
            let total = read(&mut unwrapper, HERE, one(&[("drop", value), ("found", 3)]))[0];
            prop_assert!(total >= last || total == value, "{last}, then {total} at {value}");
            prop_assert_eq!(total % WIDTH, value);
            last = total;
        }
    }
}
