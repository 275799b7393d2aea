//! Whose connections wait to be accepted: listeners that share a port or an address, that close, or whose owner is not
//! known yet.

use super::{
    Attribution, EphemeralPorts, Event, Family, GroupBy, HERE, Label, Listeners, Record, State, Tracked,
};
use connscope::metric::Value;
use connscope::reading::Readings;
use connscope::source::sockets::group::Group;
use connscope::source::sockets::tcp_info::TcpInfo;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A socket that listens.
fn listener(cookie: u64, local: &str, process: &'static str) -> (Record<'static>, &'static str) {
    let local: SocketAddr = local.parse().unwrap();
    let (family, nobody) = if local.is_ipv4() { (Family::V4, "0.0.0.0:0") } else { (Family::V6, "[::]:0") };
    let nobody = nobody.parse().unwrap();
    // There is room for one connection more than the limit.
    let record =
        Record { cookie, inode: 1, write_queue: 1, ..Record::new(family, State::Listen, local, nobody) };
    (record, process)
}

/// Milliseconds that a connection has waited, in a `tcp_info`.
fn waited(milliseconds: u32) -> [u8; 280] {
    let mut info = [0; 280];
    info[44..48].copy_from_slice(&milliseconds.to_ne_bytes());
    info
}

/// A connection that nobody has accepted.
fn queued<'a>(cookie: u64, local: &str, info: &'a [u8]) -> Record<'a> {
    let local: SocketAddr = local.parse().unwrap();
    let (family, peer) =
        if local.is_ipv4() { (Family::V4, "10.0.0.9:50000") } else { (Family::V6, "[fd00::9]:50000") };
    let tcp = Some(TcpInfo::new(info));
    Record { cookie, tcp, ..Record::new(family, State::Established, local, peer.parse().unwrap()) }
}

/// A dump of these, and the end of its cycle. `owned` says whether the processes of listeners are known at once.
fn dump(
    tracked: &mut Tracked,
    listening: &[(Record<'static>, &str)],
    connections: &[Record<'_>],
    owned: bool,
) {
    let now = tracked.now;
    tracked.tracker.groups.begin_cycle();
    tracked.tracker.begin_dump(HERE);
    let mut listeners = Listeners::default();
    let named = |name: &str| Attribution { process: Some(name.into()), ..Attribution::default() };
    for (record, name) in listening {
        listeners.add(record);
        let attribution = if owned { named(name) } else { Attribution::default() };
        tracked.tracker.update(HERE, record, &attribution, now);
    }
    tracked.tracker.set_listeners(HERE, listeners, EphemeralPorts::default(), now);
    for record in connections {
        tracked.tracker.update(HERE, record, &Attribution::default(), now);
        tracked.tracker.note_waiting(HERE, record, now);
    }
    tracked.end();
    let owner = |cookie| {
        let found = listening.iter().find(|(record, _)| record.cookie == cookie);
        Some(found.map_or_else(Attribution::default, |(_, name)| named(name)))
    };
    tracked.tracker.attribute(owner, now);
    tracked.tracker.sweep(now);
}

/// What groups say of a metric, by the value of this label.
fn by(tracked: &Tracked, label: Label, metric: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for group in tracked.tracker.groups.iter() {
        let mut readings = Readings::default();
        group.totals.observe(&group.labels, tracked.tracker.is_current(group), &mut readings);
        for reading in readings.iter().filter(|reading| reading.metric.name == metric) {
            let value = match reading.value {
                Value::F64(value) => value,
                Value::U64(value) => f64::from(u32::try_from(value).unwrap()),
                Value::I64(value) => f64::from(i32::try_from(value).unwrap()),
                Value::Distribution(ref distribution) => distribution.sum(),
            };
            let own = reading.labels.iter().find(|(key, _)| *key == label);
            found.insert(own.map(|(_, text)| text.to_string()).unwrap_or_default(), value);
        }
    }
    found
}

fn oldest(tracked: &Tracked, label: Label) -> BTreeMap<String, f64> {
    by(tracked, label, "tcp.accept.oldest")
}

fn map<const N: usize>(pairs: [(&str, f64); N]) -> BTreeMap<String, f64> {
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}

#[test]
fn who_waits_belongs_to_the_listener_of_its_address_and_not_to_any_on_its_port() {
    let [one, two] = [1000, 2000].map(waited);
    // The order in which listeners are found does not matter.
    for turned in [false, true] {
        let mut tracked = Tracked::started(&[GroupBy::Direction, GroupBy::ServicePort, GroupBy::Family], 100);
        let mut v6 = listener(2, "[::]:80", "");
        v6.0.v6_only = Some(true);
        let mut listening = [listener(1, "0.0.0.0:80", ""), v6];
        let waiting = [queued(11, "10.0.0.1:80", &one), queued(12, "[fd00::1]:80", &two)];
        if turned {
            listening.reverse();
        }
        dump(&mut tracked, &listening, &waiting, true);
        assert_eq!(oldest(&tracked, Label::NetworkType), map([("ipv4", 1.0), ("ipv6", 2.0)]));

        let mut tracked = Tracked::started(&[GroupBy::Process], 100);
        let mut listening = [
            listener(1, "10.0.0.1:80", "a"),
            listener(2, "10.0.0.2:80", "b"),
            listener(3, "0.0.0.0:80", "c"),
        ];
        if turned {
            listening.reverse();
        }
        let waiting = [queued(11, "10.0.0.1:80", &one), queued(12, "10.0.0.3:80", &two)];
        dump(&mut tracked, &listening, &waiting, true);
        assert_eq!(oldest(&tracked, Label::ProcessName), map([("a", 1.0), ("b", 0.0), ("c", 2.0)]));
    }
}

#[test]
fn a_listener_of_both_families_takes_ipv4_where_no_other_listens() {
    let one = waited(1000);
    let waiting = [queued(11, "10.0.0.1:80", &one)];
    let both = listener(1, "[::]:80", "both");
    let mut tracked = Tracked::started(&[GroupBy::Process], 100);
    dump(&mut tracked, &[both], &waiting, true);
    assert_eq!(oldest(&tracked, Label::ProcessName), map([("both", 1.0)]));
    for listening in [[both, listener(2, "0.0.0.0:80", "four")], [listener(2, "0.0.0.0:80", "four"), both]] {
        let mut tracked = Tracked::started(&[GroupBy::Process], 100);
        dump(&mut tracked, &listening, &waiting, true);
        assert_eq!(oldest(&tracked, Label::ProcessName), map([("both", 0.0), ("four", 1.0)]));
    }
}

#[test]
fn listeners_bound_to_interfaces_take_what_comes_from_there() {
    let [one, two, three] = [1000, 2000, 3000].map(waited);
    let on = |interface: u32, (record, name): (Record<'static>, &'static str)| {
        (Record { interface, ..record }, name)
    };
    let listening = [
        on(7, listener(1, "0.0.0.0:80", "seven")),
        on(8, listener(2, "0.0.0.0:80", "eight")),
        listener(3, "0.0.0.0:80", "any"),
    ];
    let waiting = [
        Record { interface: 7, ..queued(11, "10.0.0.1:80", &one) },
        Record { interface: 8, ..queued(12, "10.0.0.1:80", &two) },
        queued(13, "10.0.0.1:80", &three),
    ];
    let mut tracked = Tracked::started(&[GroupBy::Process], 100);
    dump(&mut tracked, &listening, &waiting, true);
    assert_eq!(oldest(&tracked, Label::ProcessName), map([("any", 3.0), ("eight", 2.0), ("seven", 1.0)]));
}

#[test]
fn of_listeners_that_share_an_address_it_is_one_of_the_same_group_or_with_a_queue() {
    let [one, two] = [1000, 2000].map(waited);
    let in_cgroup = |id: u64, (record, name): (Record<'static>, &'static str)| {
        (Record { cgroup: Some(id), receive_queue: 1, ..record }, name)
    };
    let mut listening =
        [in_cgroup(5, listener(1, "0.0.0.0:80", "a")), in_cgroup(6, listener(2, "0.0.0.0:80", "b"))];
    let waiting = [
        Record { cgroup: Some(5), ..queued(11, "10.0.0.1:80", &one) },
        Record { cgroup: Some(6), ..queued(12, "10.0.0.1:80", &two) },
    ];
    let mut tracked = Tracked::started(&[GroupBy::Process], 100);
    dump(&mut tracked, &listening, &waiting, true);
    assert_eq!(oldest(&tracked, Label::ProcessName), map([("a", 1.0), ("b", 2.0)]));
    // Two processes of one control group: the queue of one is empty.
    for empty in [0, 1] {
        for (index, (record, _)) in listening.iter_mut().enumerate() {
            (record.cgroup, record.receive_queue) = (None, u32::from(index != empty));
        }
        let mut tracked = Tracked::started(&[GroupBy::Process], 100);
        dump(&mut tracked, &listening, &[queued(11, "10.0.0.1:80", &one)], true);
        let expected = if empty == 0 { [("a", 0.0), ("b", 1.0)] } else { [("a", 1.0), ("b", 0.0)] };
        assert_eq!(oldest(&tracked, Label::ProcessName), map(expected));
    }
}

#[test]
fn who_waits_for_a_listener_is_not_forgotten_when_another_on_the_port_closes() {
    let [one, two] = [1000, 2000].map(waited);
    for other in ["0.0.0.0:80", "10.0.0.2:80"] {
        let mut tracked = Tracked::started(&[GroupBy::Process], 100);
        let stays = listener(1, "0.0.0.0:80", "stays");
        dump(&mut tracked, &[stays, listener(2, other, "goes")], &[], true);
        dump(&mut tracked, &[stays], &[queued(11, "10.0.0.1:80", &one)], true);
        assert_eq!(oldest(&tracked, Label::ProcessName), map([("stays", 1.0)]), "{other}");
        // The next on the port is not the one that went.
        dump(&mut tracked, &[stays, listener(3, other, "comes")], &[queued(11, "10.0.0.1:80", &two)], true);
        assert_eq!(oldest(&tracked, Label::ProcessName).values().sum::<f64>(), 2.0, "{other}");
    }
}

#[test]
fn a_listener_that_one_dump_skips_keeps_those_who_wait_for_it() {
    let one = waited(1000);
    let mut tracked = Tracked::started(&[GroupBy::Process], 100);
    let sibling = listener(1, "0.0.0.0:80", "sibling");
    let (record, name) = listener(2, "0.0.0.0:80", "skipped");
    let skipped = (Record { receive_queue: 1, ..record }, name);
    dump(&mut tracked, &[sibling, skipped], &[], true);
    dump(&mut tracked, &[sibling], &[], true);
    dump(&mut tracked, &[sibling, skipped], &[queued(11, "10.0.0.1:80", &one)], true);
    assert_eq!(oldest(&tracked, Label::ProcessName), map([("sibling", 0.0), ("skipped", 1.0)]));
}

#[test]
fn who_waits_is_counted_in_the_cycle_in_which_the_process_of_the_listener_is_found() {
    let one = waited(1000);
    let mut tracked = Tracked::new(&[GroupBy::Process], 100, 1000, true);
    let waiting = Record { state: State::CloseWait, ..queued(11, "10.0.0.1:80", &one) };
    let also = queued(12, "10.0.0.1:80", &one);
    let listening = [listener(1, "0.0.0.0:80", "a")];
    dump(&mut tracked, &listening, &[waiting, also], false);
    assert_eq!(oldest(&tracked, Label::ProcessName), map([("a", 1.0)]));
    let of = |tracked: &Tracked, metric: &str| by(tracked, Label::ProcessName, metric);
    assert_eq!(of(&tracked, "tcp.accept.wait"), map([("a", 2.0)]));
    assert_eq!(of(&tracked, "tcp.accept.abandoned"), map([("a", 0.0)]), "it may have been before us");
    let gives_up = Record { state: State::CloseWait, ..also };
    for _ in 0..2 {
        dump(&mut tracked, &listening, &[waiting, gives_up], true);
        assert_eq!(of(&tracked, "tcp.accept.abandoned"), map([("a", 1.0)]), "once");
    }
    // What was counted stays when the listener closes; there is no queue any more.
    dump(&mut tracked, &[], &[], true);
    assert_eq!(of(&tracked, "tcp.accept.abandoned"), map([("a", 1.0)]));
    assert_eq!(oldest(&tracked, Label::ProcessName), map([]));
}

#[test]
fn a_connection_on_which_something_was_sent_does_not_wait() {
    let mut info = waited(1000);
    info[156..160].copy_from_slice(&1u32.to_ne_bytes());
    let mut tracked = Tracked::started(&[GroupBy::Process], 100);
    let closing = queued(11, "10.0.0.1:80", &info);
    dump(&mut tracked, &[listener(1, "0.0.0.0:80", "a")], &[closing], true);
    assert_eq!(
        oldest(&tracked, Label::ProcessName),
        map([("a", 0.0)]),
        "a subflow that its process has closed"
    );
}

/// Open connections by user.
fn open(tracked: &Tracked) -> BTreeMap<String, f64> {
    let mut open = by(tracked, Label::UserId, "tcp.open_connections");
    open.retain(|_, count| *count > 0.0);
    open
}

#[test]
fn a_connection_that_waits_is_of_the_user_who_accepts_it() {
    let one = waited(1000);
    // What kernels before 6.17 report of a socket without a process, and what later ones do: the listener's.
    for uid in [0, 65_534, 33] {
        let mut tracked = Tracked::started(&[GroupBy::Uid], 100);
        let (record, name) = listener(1, "0.0.0.0:80", "");
        let listening = [(Record { uid: 33, ..record }, name)];
        let waiting = Record { uid, ..queued(11, "10.0.0.1:80", &one) };
        dump(&mut tracked, &listening, &[waiting], true);
        assert_eq!(open(&tracked), map([]), "{uid}: it may be accepted by another");
        let accepted = Record { uid: 44, inode: 9, ..waiting };
        dump(&mut tracked, &listening, &[accepted], true);
        assert_eq!(open(&tracked), map([("44", 1.0)]), "{uid}");
    }
}

#[test]
fn a_connection_without_a_process_is_not_of_root() {
    let mut one = waited(1000);
    for (local, uid, expected) in [
        ("10.0.0.1:80", 0, "33"),
        ("10.0.0.1:80", 44, "44"),
        ("10.0.0.1:81", 0, "~unknown"),
        ("10.0.0.1:81", 65_534, "~unknown"),
        ("10.0.0.1:81", 44, "44"),
    ] {
        let mut tracked = Tracked::started(&[GroupBy::Uid], 100);
        let (record, name) = listener(1, "0.0.0.0:80", "");
        let listening = [(Record { uid: 33, ..record }, name)];
        // It has sent something, and its process has closed it.
        one[156..160].copy_from_slice(&1u32.to_ne_bytes());
        let closing = Record { uid, state: State::FinWait1, ..queued(11, local, &one) };
        dump(&mut tracked, &listening, &[closing], true);
        assert_eq!(open(&tracked), map([(expected, 1.0)]), "{local} {uid}");
    }
    // Root's own.
    let mut tracked = Tracked::started(&[GroupBy::Uid], 100);
    dump(&mut tracked, &[], &[Record { inode: 9, ..queued(11, "10.0.0.1:81", &one) }], true);
    assert_eq!(open(&tracked), map([("0", 1.0)]));
}

#[test]
fn a_dump_that_ends_early_says_nothing_of_this_cycle() {
    let one = waited(1000);
    let mut tracked = Tracked::started(&[GroupBy::Process], 100);
    let listening = [listener(1, "0.0.0.0:80", "a")];
    dump(&mut tracked, &listening, &[queued(11, "10.0.0.1:80", &one)], true);
    let present =
        ["tcp.accept.oldest", "tcp.listen.queue.usage", "tcp.listen.queue.limit", "tcp.stalled_connections"];
    let sums = ["tcp.accept.wait", "tcp.accept.abandoned", "tcp.open_connections"];
    let found = |tracked: &Tracked, metric: &&str| !by(tracked, Label::ProcessName, metric).is_empty();
    assert!(present.iter().chain(&sums).all(|metric| found(&tracked, metric)));
    // The kernel ends the next one before anything was read.
    let before: Vec<_> = sums.iter().map(|metric| by(&tracked, Label::ProcessName, metric)).collect();
    tracked.tracker.groups.begin_cycle();
    tracked.tracker.begin_dump(HERE);
    tracked.tracker.end_dump(HERE, false);
    tracked.tracker.sweep(tracked.now);
    assert!(!present.iter().any(|metric| found(&tracked, metric)));
    let after: Vec<_> = sums.iter().map(|metric| by(&tracked, Label::ProcessName, metric)).collect();
    assert_eq!(after, before, "what was counted stays");
    dump(&mut tracked, &listening, &[queued(11, "10.0.0.1:80", &one)], true);
    assert!(present.iter().all(|metric| found(&tracked, metric)));
    // What is said of this cycle is of TCP, and does not need the datagrams.
    tracked.tracker.begin_dump(HERE);
    tracked.tracker.end_connections(HERE);
    tracked.tracker.end_dump(HERE, false);
    tracked.tracker.sweep(tracked.now);
    assert!(present.iter().all(|metric| found(&tracked, metric)));
}

#[test]
fn a_connection_that_no_dump_had_is_of_the_process_that_listened_on_its_address() {
    let mut info = [0; 280];
    // A round trip: it was established.
    info[148..152].copy_from_slice(&90u32.to_ne_bytes());
    let mut tracked = Tracked::started(&[GroupBy::Process], 100);
    let listening =
        [listener(1, "10.0.0.1:80", "a"), listener(2, "10.0.0.2:80", "b"), listener(3, "10.0.0.2:81", "c")];
    dump(&mut tracked, &listening, &[], true);
    let ends = |tracked: &mut Tracked, cookie: u64, local: &str| {
        let ended = Record { state: State::Close, ..queued(cookie, local, &info) };
        tracked.tracker.closed(HERE, &ended, tracked.now);
        let mut resets = resets(tracked);
        resets.retain(|_, count| *count > 0.0);
        resets
    };
    assert_eq!(ends(&mut tracked, 11, "10.0.0.2:80"), map([("b", 1.0)]));
    // For minutes after the listener has closed too, while another has the port.
    dump(&mut tracked, &listening[..1], &[], true);
    assert_eq!(ends(&mut tracked, 12, "10.0.0.2:80"), map([("b", 2.0)]));
    assert_eq!(ends(&mut tracked, 13, "10.0.0.2:81"), map([("b", 2.0), ("c", 1.0)]));
    assert_eq!(ends(&mut tracked, 14, "10.0.0.1:80"), map([("a", 1.0), ("b", 2.0), ("c", 1.0)]));
}

/// Connections that were reset, by process.
fn resets(tracked: &Tracked) -> BTreeMap<String, f64> {
    let of = |group: &Group| {
        let (_, name) = group.labels.iter().find(|(key, _)| *key == Label::ProcessName).unwrap();
        (name.to_string(), f64::from(u32::try_from(group.totals.event_count(Event::Reset)).unwrap()))
    };
    tracked.tracker.groups.iter().map(of).collect()
}
