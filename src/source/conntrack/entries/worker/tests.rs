use super::{Attempt, OWN, Rounds, Shared};
use crate::host::netns::Namespace;
use crate::reading::SourceError;
use crate::source::conntrack::entries::config::Entries;
use crate::stop::Stop;
use std::sync::Arc;
use std::time::Duration;

const COST: Duration = Duration::from_millis(40);

fn rounds() -> Rounds {
    let stop = Stop::new().expect("a pipe");
    Rounds { settings: Entries::default(), shared: Arc::new(Shared::default()), stop }
}

fn failed() -> Attempt {
    let error = SourceError::absent("dumping", "no such module");
    Attempt { result: Err(error), cpu_time: COST }
}

#[test]
fn a_dump_that_fails_costs_its_time_and_waits_for_its_turn() {
    let rounds = rounds();
    let mut left = Duration::from_millis(100);
    for file in [(1, 1), (1, 2)] {
        rounds.one(file, None, &mut left, |_| Some(failed()));
    }
    assert_eq!(left, Duration::from_millis(20));
    assert_eq!(rounds.needs((1, 1)), COST);
    let results = rounds.shared.results();
    let tried: Vec<_> = results.known.values().map(|known| (known.cpu_time, known.tried)).collect();
    assert!(tried.iter().all(|(cost, tried)| *cost == COST && tried.is_some()), "{tried:?}");
    assert!(tried[0].1 < tried[1].1, "the first is the next");
}

fn namespace(label: &str, path: &str, file: (u64, u64)) -> Namespace {
    Namespace { label: label.into(), path: path.into(), file, is_named: true }
}

#[test]
fn a_namespace_that_is_gone_is_forgotten_and_is_no_error() {
    let rounds = rounds();
    let gone = namespace("gone", "/proc/0/ns/net", (1, 1));
    // Its path leads to another one, as if the number of its process was used again.
    let other = namespace("other", "/proc/self/ns/net", (1, 2));
    let mut left = COST;
    for one in [&gone, &other] {
        rounds.one(one.file, Some(Arc::clone(&one.label)), &mut left, |_| Some(failed()));
    }
    assert_eq!(rounds.shared.results().known.len(), 2);
    let found = [gone, other];
    rounds.shared.ask(Some(&found));
    rounds.round();
    assert!(rounds.shared.results().known.is_empty());
    rounds.one((1, 1), None, &mut left, |_| Some(failed()));
    rounds.one((1, 1), None, &mut left, |_| None);
    assert!(rounds.shared.results().known.is_empty(), "it went while it was entered");
}

#[test]
fn only_what_the_cycle_has_found_is_kept() {
    let rounds = rounds();
    let mut left = COST;
    for (file, label) in [(OWN, None), ((1, 1), Some("one")), ((1, 2), Some("two"))] {
        rounds.one(file, label.map(Arc::from), &mut left, |_| Some(failed()));
    }
    let mut results = rounds.shared.results();
    let found = [namespace("one", "/run/netns/one", (1, 1)), namespace("new", "/run/netns/new", (1, 2))];
    results.keep(Some(&found));
    let files: Vec<_> = results.known.keys().copied().collect();
    assert_eq!(files, [(1, 1)], "the number of `two` is that of `new` now");
    results.keep(None);
    assert!(results.known.is_empty());
    drop(results);
    rounds.one(OWN, None, &mut left, |_| Some(failed()));
    let mut results = rounds.shared.results();
    results.keep(None);
    assert_eq!(results.known.len(), 1);
}

#[test]
fn a_round_that_panics_is_known_until_one_does_not() {
    let rounds = rounds();
    let panic = std::panic::catch_unwind(|| panic!("of a test")).expect_err("it panics");
    rounds.finish(Some(SourceError::panicked(panic.as_ref())));
    assert!(rounds.shared.wait(Duration::ZERO), "nobody waits for it");
    let known = rounds.shared.results().panicked.as_ref().map(ToString::to_string);
    assert_eq!(known.as_deref(), Some("the source panicked: of a test"));
    rounds.finish(None);
    assert!(rounds.shared.results().panicked.is_none());
}
