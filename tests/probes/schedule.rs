//! The schedule, with a clock of the test's own: whatever the mix of quick, slow and dead targets, nobody is forgotten
//! and the dead delay nobody.

use connscope::source::probes::schedule::{Moment, Pace, Schedule, TargetId};
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);

/// How late each begin of a target was.
type Begins = BTreeMap<TargetId, Vec<(Moment, Duration)>>;

/// Runs a schedule for a while; `takes` says how long a probe of the n-th target takes.
fn simulate(limit: usize, takes: &[Duration], until: Duration) -> (Begins, Vec<TargetId>, usize) {
    let mut schedule = Schedule::new(limit);
    let ids: Vec<TargetId> =
        takes.iter().map(|_| schedule.add(Duration::ZERO, INTERVAL, INTERVAL / 20, INTERVAL)).collect();
    let by_id: BTreeMap<TargetId, Duration> = ids.iter().copied().zip(takes.iter().copied()).collect();
    let mut running: BinaryHeap<Reverse<(Moment, TargetId)>> = BinaryHeap::new();
    let mut begins = Begins::new();
    let mut most = 0;
    let mut now = Duration::ZERO;
    while now < until {
        while let Some(begin) = schedule.begin(now) {
            begins.entry(begin.id).or_default().push((now, begin.late));
            running.push(Reverse((now + by_id[&begin.id].min(TIMEOUT), begin.id)));
        }
        most = most.max(schedule.running());
        let ends = running.peek().map(|Reverse((at, _))| *at);
        let next = [ends, schedule.next()].into_iter().flatten().min();
        now = next.expect("somebody is always waiting or running").max(now);
        while let Some(Reverse((at, id))) = running.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            running.pop();
            let trust = if by_id[&id] * 2 < TIMEOUT { Pace::Quick } else { Pace::Slow };
            schedule.end(id, at, trust);
        }
    }
    (begins, ids, most)
}

#[test]
fn targets_are_spread_and_keep_their_beat() {
    let takes = vec![Duration::from_millis(1); 1000];
    let (begins, _, most) = simulate(1000, &takes, INTERVAL * 10);
    assert!(most < 50, "{most} of 1000 began together");
    for turns in begins.values() {
        assert!((9..=10).contains(&turns.len()), "{} turns in ten intervals", turns.len());
        assert!(turns.iter().all(|(_, late)| late.is_zero()));
        for pair in turns.windows(2) {
            let between = pair[1].0.saturating_sub(pair[0].0);
            assert!(between >= INTERVAL * 19 / 20 && between <= INTERVAL * 21 / 20, "{between:?}");
        }
    }
}

#[test]
fn a_probe_that_takes_longer_than_its_interval_does_not_run_twice() {
    let mut schedule = Schedule::new(10);
    let id = schedule.add(Duration::ZERO, Duration::from_secs(1), Duration::ZERO, Duration::ZERO);
    assert_eq!(schedule.begin(Duration::ZERO).map(|begin| begin.id), Some(id));
    assert_eq!(schedule.begin(Duration::from_millis(1500)), None);
    schedule.end(id, Duration::from_millis(2500), Pace::Slow);
    assert_eq!(schedule.begin(Duration::from_millis(2600)), None, "what was missed is not made up for");
    assert_eq!(schedule.begin(Duration::from_secs(3)).map(|begin| begin.late), Some(Duration::ZERO));
}

#[test]
fn a_target_that_is_gone_leaves_its_place_to_the_next() {
    let mut schedule = Schedule::new(10);
    let second = Duration::from_secs(1);
    let gone = schedule.add(Duration::ZERO, second, Duration::ZERO, Duration::ZERO);
    let running = schedule.add(Duration::ZERO, second, Duration::ZERO, Duration::ZERO);
    schedule.remove(gone);
    assert_eq!(schedule.begin(Duration::ZERO).map(|begin| begin.id), Some(running));
    schedule.remove(running);
    schedule.remove(running);
    let next = schedule.add(Duration::ZERO, second, Duration::ZERO, Duration::ZERO);
    assert_eq!(next, gone, "the number is free");
    assert_eq!(schedule.running(), 1, "it is still under way");
    assert_eq!(schedule.begin(second).map(|begin| begin.id), Some(next));
    schedule.end(running, second, Pace::Quick);
    assert_eq!(schedule.running(), 1);
    assert_eq!(schedule.begin(second * 9), None, "what was removed does not come back");
}

#[test]
fn a_target_of_many_addresses_takes_as_many_slots_and_does_not_wait_for_ever() {
    let mut schedule = Schedule::new(20);
    let second = Duration::from_secs(1);
    let add = |schedule: &mut Schedule| schedule.add(Duration::ZERO, second, Duration::ZERO, Duration::ZERO);
    let wide: Vec<TargetId> = (0..4).map(|_| add(&mut schedule)).collect();
    for id in &wide {
        schedule.set_slots(*id, 16);
    }
    // Nothing is known of them yet, so that three quarters of the slots are theirs; each takes a quarter, and not 16.
    assert_eq!(std::iter::from_fn(|| schedule.begin(Duration::ZERO)).count(), 3);
    assert_eq!(schedule.running(), 15);
    schedule.end(wide[0], second / 2, Pace::Quick);
    schedule.set_slots(wide[0], 2);
    schedule.set_slots(wide[1], 2); // running: what it holds is given back as it was taken
    assert_eq!(schedule.running(), 10);
    assert!(schedule.begin(second / 2).is_some(), "the fourth");
    for id in &wide[1..] {
        schedule.end(*id, second / 2, Pace::Quick);
    }
    assert_eq!(schedule.running(), 0);
    assert_eq!(std::iter::from_fn(|| schedule.begin(second)).count(), 4);
    assert_eq!(schedule.running(), 17, "two, and three times five");
}

#[test]
fn a_wide_turn_is_not_passed_over_by_those_that_come_later() {
    let mut schedule = Schedule::new(16);
    let (often, now) = (Duration::from_millis(20), Duration::ZERO);
    // Forty turns come in 20 ms, and twenty end: there is always one that would take a slot that is released.
    for _ in 0..40 {
        schedule.add(now, often, Duration::ZERO, Duration::ZERO);
    }
    let wide = schedule.add(Duration::from_millis(1), INTERVAL, Duration::ZERO, Duration::ZERO);
    schedule.set_slots(wide, 4);
    let mut running = VecDeque::new();
    let begun = (0..200).map(Duration::from_millis).find(|now| {
        while let Some(begin) = schedule.begin(*now) {
            if begin.id == wide {
                return true;
            }
            running.push_back(begin.id);
        }
        if let Some(first) = running.pop_front() {
            schedule.end(first, *now, Pace::Quick);
        }
        false
    });
    assert!(begun.is_some_and(|at| at < often * 2), "{begun:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_dead_delay_nobody_and_nobody_is_forgotten(
        quick in 1usize..60,
        dead in 0usize..200,
        slow in 0usize..40,
        limit in 8usize..64,
    ) {
        let takes: Vec<Duration> = [
            vec![Duration::from_millis(20); quick],
            vec![Duration::from_hours(1); dead],
            vec![Duration::from_secs(3); slow],
        ].concat();
        // Long enough for all to have been tried once, then four more rounds of all that are dead.
        let round = TIMEOUT * u32::try_from((dead + slow).div_ceil(limit / 2)).unwrap() + INTERVAL * 2;
        let (begins, ids, most) = simulate(limit, &takes, round * 6);
        prop_assert!(most <= limit, "{most} ran where {limit} may");
        for (place, id) in ids.iter().enumerate() {
            let turns = begins.get(id).map_or(&[][..], Vec::as_slice);
            prop_assert!(!turns.is_empty(), "target {place} never had its turn");
            for pair in turns.windows(2) {
                let waited = pair[1].0.saturating_sub(pair[0].0);
                prop_assert!(waited <= round, "target {place} waited {waited:?}");
            }
            if place < quick {
                // Once it is known to be quick, a quarter of the slots is there for it whatever the others do: it waits
                // for other quick ones at most.
                let most_late = turns.iter().skip(1).map(|(_, late)| *late).max().unwrap_or_default();
                let others = Duration::from_millis(20) * u32::try_from(quick.div_ceil((limit / 4).max(1))).unwrap();
                prop_assert!(most_late <= others, "target {place} was {most_late:?} late");
            }
        }
    }
}
