//! A kernel that opens, uses and closes connections, keeps the true numbers, and hands over dumps and events in any order.

use super::counted::Counted;
use super::{Connection, End, HERE, Numbers, Tracked, WIDTH};
use connscope::metric::label::Event;
use connscope::source::sockets::attributes::Attribution;
use connscope::source::sockets::config::GroupBy;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

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
