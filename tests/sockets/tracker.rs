//! What is remembered of sockets: whatever order dumps and destroy events come in, what is counted is what happened.
//!
//! The property tests are a kernel: they open, use and close connections, keep the true numbers, hand over dumps and
//! events, and want the true numbers back.

mod counted;
mod model;
mod names;
mod path;
mod ports;
mod waiting;

use connscope::host::ephemeral::EphemeralPorts;
use connscope::metric::Label;
use connscope::metric::label::Event;
use connscope::settings::network::Network;
use connscope::source::sockets::attributes::Attribution;
use connscope::source::sockets::config::GroupBy;
use connscope::source::sockets::diag::{Family, Record, State};
use connscope::source::sockets::group::Groups;
use connscope::source::sockets::labels::Key;
use connscope::source::sockets::listen::Listeners;
use connscope::source::sockets::peers::Peers;
use connscope::source::sockets::tcp_info::TcpInfo;
use connscope::source::sockets::timeouts::GROUP_IDLE;
use connscope::source::sockets::track::Tracker;
use connscope::text::{OTHER, UNKNOWN};
use counted::Counted;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

/// The one network namespace.
const HERE: u32 = 0;

/// Ports below this are listened on in these tests.
const SERVICES: u16 = 100;

/// What counters of 32 bits count to.
const WIDTH: u64 = 1 << 32;

/// What a kernel has of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Numbers {
    sent: u64,
    received: u64,
    /// The kernel shows the lower 32 bits of these.
    retransmits: u64,
    segments: u64,
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    cookie: u64,
    local: u16,
    peer: u16,
    /// The three-way handshake is over.
    made: bool,
    ended: Option<End>,
    now: Numbers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Both have closed.
    InOrder,
    /// This end has reset it: the kernel clears what it counted.
    ResetHere,
}

impl Connection {
    fn new(cookie: u64, local: u16, peer: u16) -> Self {
        Self { cookie, local, peer, made: true, ended: None, now: Numbers::default() }
    }

    /// `struct tcp_info`, as far as it is looked at.
    fn info(&self) -> [u8; 280] {
        let mut info = [0; 280];
        let mut put = |offset: usize, bytes: &[u8]| info[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(148, &u32::MAX.to_ne_bytes());
        if self.made {
            put(148, &90u32.to_ne_bytes());
            put(68, &100u32.to_ne_bytes());
            put(80, &10u32.to_ne_bytes());
        }
        if self.made && self.ended != Some(End::ResetHere) {
            // One for the SYN of who opened it, one for the FIN.
            let opened_here = u64::from(self.local >= SERVICES);
            let acked = self.now.sent + opened_here + u64::from(self.ended.is_some());
            put(100, &narrow(self.now.retransmits));
            put(120, &acked.to_ne_bytes());
            put(128, &self.now.received.to_ne_bytes());
            put(136, &narrow(self.now.segments));
            put(140, &narrow(self.now.segments));
            put(200, &self.now.sent.to_ne_bytes());
        }
        info
    }

    fn with<T>(&self, take: impl FnOnce(&Record<'_>) -> T) -> T {
        let info = self.info();
        let state = match (self.ended, self.made) {
            (Some(_), _) => State::Close,
            (None, true) => State::Established,
            (None, false) => State::SynSent,
        };
        let mut record = record(self.cookie, state, self.local, self.peer);
        record.tcp = Some(TcpInfo::new(&info));
        if self.ended == Some(End::ResetHere) || (self.ended.is_some() && !self.made) {
            record.peer.set_port(0);
        }
        take(&record)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "as the kernel does")]
fn narrow(number: u64) -> [u8; 4] {
    (number as u32).to_ne_bytes()
}

fn record(cookie: u64, state: State, local: u16, peer: u16) -> Record<'static> {
    let at = |host: u8, port| SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), port));
    Record { cookie, inode: 1, ..Record::new(Family::V4, state, at(1, local), at(2, peer)) }
}

/// A tracker that is told of one namespace, and its clock.
struct Tracked {
    tracker: Tracker,
    now: Instant,
}

impl Tracked {
    fn new(by: &[GroupBy], limit: usize, track: usize, waits: bool) -> Self {
        let groups = Groups::new(by, limit, Peers::new(&BTreeMap::<String, Vec<Network>>::new()));
        Self { tracker: Tracker::new(groups, track, true, waits), now: Instant::now() }
    }

    /// One that has had its first dump, with nothing in it.
    fn started(by: &[GroupBy], limit: usize) -> Self {
        let mut tracked = Self::new(by, limit, 1000, false);
        tracked.dump(&[]);
        tracked
    }

    fn begin(&mut self) {
        self.tracker.groups.begin_cycle();
        self.tracker.begin_dump(HERE);
        let mut listeners = Listeners::default();
        for port in 0..SERVICES {
            listeners.add(&record(u64::MAX, State::Listen, port, 0));
        }
        self.tracker.set_listeners(HERE, listeners, EphemeralPorts::default(), self.now);
    }

    fn see(&mut self, connection: &Connection) {
        let now = self.now;
        connection.with(|record| self.tracker.update(HERE, record, &Attribution::default(), now));
    }

    fn end(&mut self) {
        self.tracker.end_dump(HERE, true);
    }

    /// A dump in which nothing else happens, and the end of its cycle.
    fn dump(&mut self, connections: &[Connection]) {
        self.begin();
        for connection in connections {
            self.see(connection);
        }
        self.end();
        self.tracker.sweep(self.now);
    }

    fn closed(&mut self, connection: &Connection) {
        assert!(connection.ended.is_some());
        let now = self.now;
        connection.with(|record| self.tracker.closed(HERE, record, now));
    }

    fn sum(&self) -> Counted {
        let mut sum = Counted::default();
        for group in self.tracker.groups.iter() {
            sum.add(group);
        }
        sum
    }

    fn group(&self, label: Label, value: &str) -> Option<Counted> {
        let group = self
            .tracker
            .groups
            .iter()
            .find(|group| group.labels.iter().any(|(key, text)| *key == label && &**text == value))?;
        let mut counted = Counted::default();
        counted.add(group);
        Some(counted)
    }
}

#[test]
fn a_socket_whose_control_group_is_still_looked_for_waits_for_it() {
    let mut tracked = Tracked::started(&[GroupBy::Cgroup], 100);
    let mut connection = Connection::new(1, 50_000, 80);
    let mut look = |sent: u64, found: &Attribution| {
        connection.now.sent = sent;
        tracked.begin();
        let now = tracked.now;
        connection.with(|record| tracked.tracker.update(HERE, record, found, now));
        tracked.end();
        tracked.tracker.attribute(|_| Some(Attribution::default()), now);
        tracked.tracker.sweep(now);
        (tracked.sum(), tracked.group(Label::Cgroup, "/a"))
    };
    let (sum, _) = look(10, &Attribution { cgroup_pending: true, ..Attribution::default() });
    assert_eq!(sum, Counted::default());
    let (sum, group) = look(20, &Attribution { cgroup: Some("/a".into()), ..Attribution::default() });
    assert_eq!((sum.of(Event::Opened), sum.sent), (1, 20));
    assert_eq!(group, Some(sum));
}

#[test]
fn what_was_there_before_is_counted_from_where_it_stands() {
    let mut tracked = Tracked::new(&[GroupBy::ServicePort], 500, 1000, false);
    let mut old = Connection::new(1, 80, 50_000);
    old.now = Numbers { sent: 1000, received: 1000, retransmits: 10, segments: 10 };
    tracked.dump(&[old]);
    let counted = tracked.group(Label::ServerPort, "80").unwrap();
    assert_eq!(counted, Counted { open: 1, ..Counted::default() });
    old.now.sent += 5;
    let young =
        Connection { now: Numbers { sent: 3, ..Numbers::default() }, ..Connection::new(2, 80, 50_001) };
    tracked.dump(&[old, young]);
    let counted = tracked.group(Label::ServerPort, "80").unwrap();
    assert_eq!((counted.open, counted.of(Event::Opened), counted.sent), (2, 1, 8));
}

#[test]
fn counters_of_32_bits_wrap_and_go_on() {
    let mut tracked = Tracked::started(&[GroupBy::ServicePort], 500);
    let mut connection = Connection::new(1, 80, 50_000);
    for retransmits in [WIDTH / 3, WIDTH / 3 * 2, WIDTH - 1] {
        connection.now.retransmits = retransmits;
        tracked.dump(&[connection]);
        assert_eq!(tracked.sum().retransmits, retransmits);
    }
    connection.now.retransmits = WIDTH + 4;
    tracked.dump(&[connection]);
    assert_eq!(tracked.sum().retransmits, WIDTH + 4);
}

#[test]
fn a_connection_that_a_dump_brings_after_its_event_is_not_counted_again() {
    let mut tracked = Tracked::started(&[GroupBy::ServicePort], 500);
    let mut connection = Connection::new(1, 80, 50_000);
    connection.now.sent = 10;
    tracked.begin();
    tracked.closed(&Connection { ended: Some(End::InOrder), ..connection });
    tracked.see(&connection);
    tracked.end();
    tracked.tracker.sweep(tracked.now);
    let counted = tracked.sum();
    assert_eq!((counted.open, counted.of(Event::Opened), counted.of(Event::Closed)), (0, 1, 1));
    assert_eq!(counted.sent, 10);
    assert!(tracked.tracker.is_empty());
}

#[test]
fn a_connection_whose_event_is_late_is_not_ended_twice() {
    let mut tracked = Tracked::started(&[GroupBy::ServicePort], 500);
    let connection = Connection::new(1, 80, 50_000);
    tracked.dump(&[connection]);
    tracked.dump(&[]);
    assert_eq!(tracked.sum().open, 1, "its event may be on its way");
    tracked.closed(&Connection { ended: Some(End::InOrder), ..connection });
    tracked.dump(&[]);
    let counted = tracked.sum();
    assert_eq!((counted.open, counted.of(Event::Closed)), (0, 1));
}

#[test]
fn a_connection_whose_event_was_lost_ends_with_the_next_dump() {
    let mut tracked = Tracked::started(&[GroupBy::ServicePort], 500);
    tracked.dump(&[Connection::new(1, 80, 50_000)]);
    tracked.tracker.lost(HERE);
    tracked.dump(&[]);
    let counted = tracked.sum();
    assert_eq!((counted.open, counted.of(Event::Closed)), (0, 1));
}

#[test]
fn more_than_may_be_remembered_is_counted_as_left_out() {
    let mut tracked = Tracked::new(&[GroupBy::ServicePort], 500, 2, false);
    tracked.dump(&[]);
    let connections: Vec<Connection> = (1..=5).map(|cookie| Connection::new(cookie, 80, 50_000)).collect();
    tracked.dump(&connections);
    assert_eq!(tracked.tracker.len(), 2);
    assert_eq!(tracked.tracker.groups.left_out(Key::Track), 3);
}

#[test]
fn what_is_over_a_limit_is_in_other_and_counted() {
    // A quarter of the limit is for ports.
    let mut tracked = Tracked::started(&[GroupBy::Direction, GroupBy::ServicePort], 8);
    let connections: Vec<Connection> =
        (1..=5).map(|cookie| Connection::new(cookie, u16::try_from(cookie).unwrap(), 50_000)).collect();
    tracked.dump(&connections);
    let other = tracked.group(Label::ServerPort, OTHER).unwrap();
    assert_eq!(other.of(Event::Opened), 3);
    assert_eq!(tracked.tracker.groups.left_out(Key::ServicePort), 3);
    assert_eq!(tracked.sum().of(Event::Opened), 5);
}

#[test]
fn a_value_whose_last_group_has_ended_makes_room() {
    let mut tracked = Tracked::started(&[GroupBy::ServicePort], 4);
    let first = Connection::new(1, 1, 50_000);
    tracked.dump(&[first]);
    tracked.dump(&[first, Connection::new(2, 2, 50_000)]);
    assert!(tracked.group(Label::ServerPort, OTHER).is_some(), "there is room for one port");
    tracked.closed(&Connection { ended: Some(End::InOrder), ..first });
    tracked.tracker.groups.observed();
    tracked.now += GROUP_IDLE;
    tracked.dump(&[Connection::new(2, 2, 50_000)]);
    assert!(tracked.group(Label::ServerPort, "1").is_none());
    tracked.dump(&[Connection::new(2, 2, 50_000), Connection::new(3, 3, 50_000)]);
    assert!(tracked.group(Label::ServerPort, "3").is_some());
}

#[test]
fn a_group_in_which_nothing_is_left_ends_after_a_while() {
    let mut tracked = Tracked::started(&[GroupBy::ServicePort], 500);
    let connection = Connection::new(1, 80, 50_000);
    tracked.dump(&[connection]);
    tracked.now += 2 * GROUP_IDLE;
    tracked.dump(&[connection]);
    assert!(tracked.group(Label::ServerPort, "80").is_some(), "it has a connection");
    tracked.closed(&Connection { ended: Some(End::InOrder), ..connection });
    tracked.now += 2 * GROUP_IDLE;
    tracked.dump(&[]);
    assert!(tracked.group(Label::ServerPort, "80").is_some(), "what happened last was not observed yet");
    tracked.tracker.groups.observed();
    tracked.now += GROUP_IDLE;
    tracked.dump(&[]);
    assert!(tracked.group(Label::ServerPort, "80").is_none());
}

#[test]
fn a_namespace_that_is_gone_takes_its_groups_along() {
    let mut tracked = Tracked::started(&[GroupBy::ServicePort], 500);
    tracked.dump(&[Connection::new(1, 80, 50_000)]);
    tracked.tracker.forget(HERE, Instant::now());
    assert!(tracked.tracker.is_empty());
    assert_eq!(tracked.tracker.groups.iter().count(), 0);
}

#[test]
fn a_socket_waits_for_its_process_and_is_counted_from_where_it_was_first_seen() {
    let mut tracked = Tracked::new(&[GroupBy::Process], 500, 1000, true);
    let mut old =
        Connection { now: Numbers { sent: 100, ..Numbers::default() }, ..Connection::new(1, 80, 50_000) };
    tracked.dump(&[old]);
    old.now.sent = 140;
    let mut young = Connection::new(2, 80, 50_001);
    tracked.dump(&[old, young]);
    assert_eq!(tracked.tracker.groups.iter().count(), 0);
    young.now.sent = 7;
    tracked.dump(&[old, young]);
    let found = |name: &str| Some(Attribution { process: Some(name.into()), ..Attribution::default() });
    let now = tracked.now;
    tracked.tracker.attribute(|cookie| if cookie == 1 { found("old") } else { None }, now);
    let counted = tracked.group(Label::ProcessName, "old").unwrap();
    assert_eq!((counted.open, counted.of(Event::Opened), counted.sent), (1, 0, 40));
    // The other ends before anyone has looked for its process.
    young.now.sent = 9;
    tracked.closed(&Connection { ended: Some(End::InOrder), ..young });
    let counted = tracked.group(Label::ProcessName, UNKNOWN).unwrap();
    assert_eq!((counted.open, counted.of(Event::Opened), counted.of(Event::Closed)), (0, 1, 1));
    assert_eq!(counted.sent, 9);
    tracked.tracker.attribute(|_| found("late"), now);
    assert!(tracked.group(Label::ProcessName, "late").is_none());
}
