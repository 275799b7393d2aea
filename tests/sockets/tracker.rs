//! What is remembered of sockets: whatever order dumps and destroy events come in, what is counted is what happened.
//!
//! The property tests are a kernel: they open, use and close connections, keep the true numbers, hand over dumps and
//! events, and want the true numbers back.

use connscope::metric::{Handle, Label, Metric, Value};
use connscope::reading::Readings;
use connscope::settings::network::Network;
use connscope::source::sockets::attributes::Attribution;
use connscope::source::sockets::config::GroupBy;
use connscope::source::sockets::diag::{Family, Record, State};
use connscope::source::sockets::ephemeral::EphemeralPorts;
use connscope::source::sockets::group::{Group, Groups, OTHER, UNKNOWN};
use connscope::source::sockets::labels::{Event, Key};
use connscope::source::sockets::listen::Listeners;
use connscope::source::sockets::metrics;
use connscope::source::sockets::peers::Peers;
use connscope::source::sockets::tcp_info::TcpInfo;
use connscope::source::sockets::timeouts::GROUP_IDLE;
use connscope::source::sockets::track::Tracker;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
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

/// What groups say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Counted {
    open: u64,
    events: [u64; Event::ALL.len()],
    sent: u64,
    received: u64,
    retransmits: u64,
    segments: u64,
}

impl Counted {
    fn add(&mut self, group: &Group) {
        let mut readings = Readings::default();
        group.totals.observe(&group.labels, &mut readings);
        self.open += group.totals.open;
        for event in Event::ALL {
            self.events[*event as usize] += group.totals.noted(*event);
        }
        for reading in readings.iter() {
            let Value::U64(value) = reading.value else { continue };
            let is = |metric: &Metric| std::ptr::eq(reading.metric, metric);
            let transmit = reading.labels.iter().any(|(_, text)| &**text == "transmit");
            if is(metrics::TCP_IO.metric()) {
                *(if transmit { &mut self.sent } else { &mut self.received }) += value;
            } else if is(metrics::TCP_RETRANSMITS.metric()) {
                self.retransmits += value;
            } else if is(metrics::TCP_SEGMENTS.metric()) && transmit {
                self.segments += value;
            }
        }
    }

    fn of(&self, event: Event) -> u64 {
        self.events[event as usize]
    }

    fn noted(&mut self, event: Event) {
        self.events[event as usize] += 1;
    }

    /// Counts what a connection did.
    fn count(&mut self, before: Numbers, now: Numbers) {
        self.sent += now.sent - before.sent;
        self.received += now.received - before.received;
        self.retransmits += now.retransmits - before.retransmits;
        self.segments += now.segments - before.segments;
    }

    fn at_least(&self, before: &Self) -> bool {
        self.sent >= before.sent
            && self.received >= before.received
            && self.retransmits >= before.retransmits
            && self.segments >= before.segments
            && self.events.iter().zip(before.events).all(|(now, before)| *now >= before)
    }
}

/// What the model does next. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Open {
        port: u16,
        incoming: bool,
        made: bool,
    },
    Talk {
        which: usize,
        sent: u64,
        received: u64,
        again: u64,
    },
    Close {
        which: usize,
        end: End,
    },
    /// Events that have come.
    Deliver(usize),
    /// Events that there was no room for.
    Lose,
    Dump(Dump),
    /// The process of some that wait is found.
    Resolve(u64),
}

#[derive(Debug, Clone)]
struct Dump {
    /// Where in the list of connections it begins.
    from: usize,
    /// Connections in one datagram.
    datagram: usize,
    /// Those that end while a datagram is on its way, and whether their event is faster than it.
    ending: Vec<(usize, bool)>,
    /// It ends with an error.
    fails: bool,
    /// Events that come only after the cycle.
    late: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let end = || prop_oneof![3 => Just(End::InOrder), 1 => Just(End::ResetHere)];
    prop_oneof![
        6 => (1u16..7, any::<bool>(), prop::bool::weighted(0.9))
            .prop_map(|(port, incoming, made)| Step::Open { port, incoming, made }),
        8 => (any::<usize>(), 0u64..5000, 0u64..5000, prop_oneof![0u64..3, Just(1 << 25)])
            .prop_map(|(which, sent, received, again)| Step::Talk { which, sent, received, again }),
        4 => (any::<usize>(), end()).prop_map(|(which, end)| Step::Close { which, end }),
        2 => (0usize..5).prop_map(Step::Deliver),
        1 => Just(Step::Lose),
        4 => (
            any::<usize>(),
            1usize..4,
            prop::collection::vec((any::<usize>(), any::<bool>()), 0..3),
            prop::bool::weighted(0.1),
            0usize..3,
        )
            .prop_map(|(from, datagram, ending, fails, late)| {
                Step::Dump(Dump { from, datagram, ending, fails, late })
            }),
        1 => any::<u64>().prop_map(Step::Resolve),
    ]
}

/// A kernel, the tracker that is told of it, and what is to be counted.
struct Model {
    tracked: Tracked,
    alive: Vec<Connection>,
    events: VecDeque<Connection>,
    /// What each connection is counted from.
    base: HashMap<u64, Numbers>,
    /// What a dump had last of each.
    seen: HashMap<u64, Connection>,
    next: u64,
    truth: Counted,
    waits: bool,
    lost: bool,
}

impl Model {
    /// With connections that were there before.
    fn new(waits: bool) -> Self {
        let tracked = Tracked::new(&[GroupBy::Direction, GroupBy::ServicePort], 500, 1000, waits);
        let mut model = Self {
            tracked,
            alive: Vec::new(),
            events: VecDeque::new(),
            base: HashMap::new(),
            seen: HashMap::new(),
            next: 1,
            truth: Counted::default(),
            waits,
            lost: false,
        };
        for port in 1..5 {
            let mut old = model.opened(port, port % 2 == 0, true);
            old.now = Numbers { sent: 1 << 40, received: 7, retransmits: WIDTH - 1, segments: WIDTH - 2 };
            model.base.insert(old.cookie, old.now);
            model.alive.push(old);
        }
        let all = model.alive.clone();
        model.tracked.dump(&all);
        model.seen.extend(all.iter().map(|connection| (connection.cookie, *connection)));
        model
    }

    fn opened(&mut self, port: u16, incoming: bool, made: bool) -> Connection {
        let cookie = self.next;
        self.next += 1;
        let far = 40_000 + u16::try_from(cookie).unwrap();
        let (local, peer) = if incoming { (port, far) } else { (far, port) };
        // One that is refused was opened here.
        let (local, peer) = if made { (local, peer) } else { (far, port) };
        Connection { made, ..Connection::new(cookie, local, peer) }
    }

    fn is_old(&self, cookie: u64) -> bool {
        self.base.contains_key(&cookie)
    }

    fn close(&mut self, which: usize, end: End) -> Option<Connection> {
        if self.alive.is_empty() {
            return None;
        }
        let mut connection = self.alive.swap_remove(which % self.alive.len());
        connection.ended = Some(end);
        Some(connection)
    }

    /// The event of a connection has come: it is known to the end.
    fn deliver(&mut self, connection: &Connection) {
        let base = self.base.get(&connection.cookie).copied().unwrap_or_default();
        let told = match connection.ended {
            Some(End::InOrder) => connection.now,
            _ => self.seen.get(&connection.cookie).map_or(base, |seen| seen.now),
        };
        self.ended(connection, told);
        if !connection.made {
            self.truth.noted(Event::Failed);
        } else if connection.ended == Some(End::ResetHere) {
            self.truth.noted(Event::Reset);
        } else {
            self.truth.noted(Event::Closed);
        }
        self.tracked.closed(connection);
    }

    /// Nobody will tell of it; what a dump had of it is all there is.
    fn lose(&mut self, connection: &Connection) {
        if let Some(seen) = self.seen.get(&connection.cookie).copied() {
            self.ended(connection, seen.now);
            self.truth.noted(if connection.made { Event::Closed } else { Event::Failed });
        }
    }

    fn ended(&mut self, connection: &Connection, told: Numbers) {
        let base = self.base.get(&connection.cookie).copied().unwrap_or_default();
        self.truth.count(base, told);
        if connection.made && !self.is_old(connection.cookie) {
            self.truth.noted(Event::Opened);
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Open { port, incoming, made } => {
                let connection = self.opened(*port, *incoming, *made);
                self.alive.push(connection);
            }
            Step::Talk { which, sent, received, again } => {
                let all = self.alive.len().max(1);
                if let Some(connection) = self.alive.get_mut(which % all)
                    && connection.made
                {
                    connection.now.sent += sent;
                    connection.now.received += received;
                    connection.now.retransmits += again;
                    connection.now.segments += again;
                }
            }
            Step::Close { which, end } => {
                let closed = self.close(*which, *end);
                self.events.extend(closed);
            }
            Step::Deliver(some) => {
                for _ in 0..*some {
                    if let Some(connection) = self.events.pop_front() {
                        self.deliver(&connection);
                    }
                }
            }
            Step::Lose => {
                for connection in std::mem::take(&mut self.events) {
                    self.lose(&connection);
                }
                self.lost = true;
                self.tracked.tracker.lost(HERE);
            }
            Step::Dump(dump) => self.dump(dump),
            Step::Resolve(mask) => self.resolve(*mask),
        }
    }

    fn dump(&mut self, dump: &Dump) {
        self.tracked.begin();
        // What a dump has passed it does not come back to.
        let mut ahead: VecDeque<u64> = self.alive.iter().map(|connection| connection.cookie).collect();
        let places = ahead.len().max(1);
        ahead.rotate_left(dump.from % places);
        let mut ending = dump.ending.iter();
        while !ahead.is_empty() {
            let cookies: HashSet<u64> = ahead.drain(..dump.datagram.min(ahead.len())).collect();
            let datagram: Vec<Connection> = self
                .alive
                .iter()
                .filter(|connection| cookies.contains(&connection.cookie))
                .copied()
                .collect();
            if let Some((which, faster)) = ending.next()
                && let Some(connection) = self.close(*which, End::InOrder)
            {
                if *faster {
                    self.deliver(&connection);
                } else {
                    self.events.push_back(connection);
                }
            }
            for connection in &datagram {
                self.tracked.see(connection);
                self.seen.insert(connection.cookie, *connection);
            }
        }
        self.tracked.tracker.end_dump(HERE, !dump.fails);
        // The source takes all events that have come before it sweeps. After a loss nothing is waited for.
        let late = if self.lost { 0 } else { dump.late.min(self.events.len()) };
        for _ in late..self.events.len() {
            let connection = self.events.pop_front().unwrap();
            self.deliver(&connection);
        }
        let now = self.tracked.now;
        self.tracked.tracker.sweep(now);
        self.lost &= dump.fails;
        if !dump.fails {
            // And what was late has come by the next dump.
            for connection in std::mem::take(&mut self.events) {
                self.deliver(&connection);
            }
        }
    }

    fn resolve(&mut self, mask: u64) {
        let name: Arc<str> = "one".into();
        let found = || Attribution { process: Some(Arc::clone(&name)), ..Attribution::default() };
        let now = self.tracked.now;
        self.tracked.tracker.attribute(|cookie| (mask >> (cookie % 64) & 1 == 1).then(found), now);
    }

    /// Ends everything, and compares.
    fn finish(mut self) -> Result<(), TestCaseError> {
        while let Some(connection) = self.close(0, End::InOrder) {
            self.events.push_back(connection);
        }
        for connection in std::mem::take(&mut self.events) {
            self.deliver(&connection);
        }
        let nothing = Dump { from: 0, datagram: 1, ending: Vec::new(), fails: false, late: 0 };
        // What a dump had that failed may take one more to end.
        for _ in 0..3 {
            self.dump(&nothing);
        }
        prop_assert_eq!(self.tracked.tracker.len(), 0);
        prop_assert_eq!(self.tracked.sum(), self.truth);
        for group in self.tracked.tracker.groups.iter() {
            prop_assert_eq!(group.sockets, 0);
        }
        Ok(())
    }
}

fn run(steps: &[Step], waits: bool) -> Result<(), TestCaseError> {
    let mut model = Model::new(waits);
    let mut before = model.tracked.sum();
    for step in steps {
        model.take(step);
        let now = model.tracked.sum();
        prop_assert!(now.at_least(&before), "{before:?} became {now:?} by {step:?}");
        before = now;
        if !model.waits {
            let ended = before.of(Event::Closed) + before.of(Event::Reset);
            // Four were there before the first dump.
            prop_assert_eq!(before.open + ended, 4 + before.of(Event::Opened));
        }
    }
    model.finish()
}

proptest! {
    #[test]
    fn what_is_counted_is_what_happened_in_any_order(steps in prop::collection::vec(step(), 0..80)) {
        run(&steps, false)?;
    }

    #[test]
    fn a_process_that_is_found_late_loses_nothing(steps in prop::collection::vec(step(), 0..80)) {
        run(&steps, true)?;
    }

    #[test]
    fn there_are_never_more_groups_than_the_limit(
        ports in prop::collection::vec((1u16..60, any::<bool>()), 1..200),
        limit in 1usize..12,
    ) {
        let mut tracked = Tracked::started(&[GroupBy::Direction, GroupBy::ServicePort], limit);
        let mut alive: Vec<Connection> = Vec::new();
        for (cookie, (port, close)) in (1..).zip(ports) {
            alive.push(Connection::new(cookie, port, 50_000));
            tracked.dump(&alive);
            if close {
                let mut first = alive.remove(0);
                first.ended = Some(End::InOrder);
                tracked.closed(&first);
            }
            // The limit, and the group for the rest.
            prop_assert!(tracked.tracker.groups.iter().count() <= limit + 1);
            let sockets: usize = tracked.tracker.groups.iter().map(|group| group.sockets).sum();
            prop_assert_eq!(sockets, alive.len(), "everyone is in a group");
            prop_assert_eq!(tracked.tracker.len(), alive.len());
        }
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
