//! Events that the kernel had no room for: counted as lost, and made good by the next dump.

use super::{Numbers, Pair, connection, listener};
use crate::support::{Namespace, eventually};
use connscope::filter::Filter;
use connscope::metric::label::Event;
use connscope::reading::{Readings, chain};
use connscope::source::sockets::attributes::Attribution;
use connscope::source::sockets::config::GroupBy;
use connscope::source::sockets::events::{DestroyEvents, Shared};
use connscope::source::sockets::group::Groups;
use connscope::source::sockets::peers::Peers;
use connscope::source::sockets::sock_diag::SockDiag;
use connscope::source::sockets::track::Tracker;
use connscope::stop::Stop;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Without `CAP_NET_ADMIN` a socket has no more room than the administrator lets everybody have.
fn without_capabilities<T>(work: impl FnOnce() -> T) -> T {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).unwrap();
    work()
}

/// Datagrams that the sockets of `sock_diag` in this namespace had no room for (`netlink_native_seq_show` in
/// `net/netlink/af_netlink.c`).
fn drops() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let lines = text.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    lines.filter(|fields| fields[1] == "4").map(|fields| fields[8].parse::<u64>().unwrap()).sum()
}

/// Whatever is counted, the cycles go on and say why.
#[test]
fn a_panic_of_who_waits_for_events_is_told() {
    let groups = Groups::new(&[GroupBy::Direction], 10, Peers::new(&BTreeMap::new()));
    let shared = Shared::new(Tracker::new(groups, 10, true, false), Filter::default(), None).unwrap();
    shared.add(0, DestroyEvents::open(Arc::default()).unwrap());
    assert!(shared.error().is_none());
    shared.run(&Stop::new().unwrap(), || panic!("a test"));
    let error = chain(&shared.error().unwrap());
    assert!(error.starts_with("receiving socket destroy events: ") && error.contains("panicked"), "{error}");
}

/// A reader that is late: nobody takes the events until the flood is over.
#[test]
fn a_flood_that_nobody_reads_is_counted_as_lost_and_made_good_by_the_next_dump() {
    let Some(namespace) = Namespace::new() else { return };
    let groups = Groups::new(&[GroupBy::Direction], 10, Peers::new(&BTreeMap::new()));
    let tracker = Tracker::new(groups, 100_000, true, false);
    let shared = Shared::new(tracker, Filter::default(), None).unwrap();
    let listening =
        namespace.inside(|| without_capabilities(|| DestroyEvents::open(Arc::default()).unwrap()));
    let most: usize = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    assert!(listening.receive_buffer() <= 2 * most);
    // Some 800 bytes an event at least, and two events a connection.
    let flood = listening.receive_buffer() / 768 / 2 + 500;
    shared.add(0, listening);
    namespace.inside(|| {
        let mut space = SockDiag::open(&Filter::default()).unwrap();
        let mut cycle = || {
            shared.tracker().groups.begin_cycle();
            shared.tracker().begin_dump(0);
            space
                .connections(&Filter::default(), false, &mut |record, _| {
                    shared.tracker().update(0, record, &Attribution::default(), Instant::now());
                })
                .unwrap();
            shared.tracker().end_dump(0, true);
            shared.drain();
            shared.tracker().sweep(Instant::now());
            let tracker = shared.tracker();
            let sum = |of: &dyn Fn(&connscope::source::sockets::group::Group) -> u64| {
                tracker.groups.iter().map(of).sum::<u64>()
            };
            let [opened, closed, reset, failed] = [Event::Opened, Event::Closed, Event::Reset, Event::Failed]
                .map(|event| sum(&|group| group.totals.event_count(event)));
            let open = sum(&|group| group.totals.open);
            assert_eq!(opened - closed - reset, open);
            assert_eq!(failed, 0);
            let mut own = Readings::default();
            drop(tracker);
            shared.observe(&mut own);
            let lost = Numbers::of(&own).sum("connscope.sockets.events.lost", &[]);
            (opened, closed + reset, open, lost)
        };
        let there = listener("127.0.0.1:4000");
        assert_eq!(cycle(), (0, 0, 0, 0.0));
        // Some that a dump has seen end in the flood, and some stay.
        let mut known: Vec<Pair> = (0..50).map(|_| connection(&there, "127.0.0.1:4000")).collect();
        assert_eq!(cycle(), (100, 0, 100, 0.0));
        for _ in 0..flood {
            drop(connection(&there, "127.0.0.1:4000"));
        }
        known.truncate(10);
        eventually("the kernel had no room for some", || drops() > 0);
        let flood = u64::try_from(flood).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers")]
        eventually("what is missing was lost", || {
            let (opened, ended, open, lost) = cycle();
            // Of the flood, those that were told of; of the known, all.
            let (missing, lost) = (2 * flood + 100 - opened, lost as u64);
            open == 20 && ended == opened - 20 && missing > 0 && missing <= lost && lost <= missing + 80
        });
        let (opened, ended, open, lost) = cycle();
        assert_eq!(cycle(), (opened, ended, open, lost), "and then it is over");
        drop(known);
    });
}
