//! What is remembered of each socket from one cycle to the next, so that only differences are counted.
//!
//! Sockets are known by their cookie, which no other socket has had since the machine was started. A dump says which
//! there are; the destroy events say which have ended, with their last numbers. The two come over different sockets and
//! in no order, so:
//!
//! - what ended while a dump is read is remembered until the dump is over, for the dump may still bring it;
//! - what a dump no longer has ends when its event comes, and without one when the next dump does not have it either;
//! - what is there in the first dump of a network namespace was there before us: it is counted from where it stands.
//!   What comes later is counted from nothing.

use super::diag::Record;
use super::group::{Groups, Traits};
use super::listen::{Direction, Listeners};
use super::socket::{
    Before, Look, NO_GROUP, Remembered, before, begin, count, enter, established, finish, in_order, leave,
    look, traits,
};
use super::total::{Counters, Sample};
use crate::metric::label::{Event, Key};
use crate::timeouts;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// A socket that waits for its process to be found.
#[derive(Debug)]
struct Waiting {
    traits: Traits,
    look: Look,
    /// It was there before us.
    old: bool,
    /// For the path of its control group.
    cgroup: bool,
}

/// The owner of a socket that listens.
#[derive(Debug, Clone)]
struct Server {
    uid: Option<u32>,
    cgroup: Option<Arc<str>>,
    process: Option<Arc<str>>,
}

/// A network namespace.
#[derive(Debug, Default)]
struct Namespace {
    listeners: Listeners,
    /// Who listens on a port: the owner of what ends before a dump has it, as far as anybody can tell.
    servers: HashMap<u16, Server>,
    /// Number of the latest dump, be it complete or not.
    dump: u32,
    /// Number of the latest that was complete, and of the one that was so before it; 0 for none.
    complete: [u32; 2],
    /// A dump is being read.
    reading: bool,
    /// Cookies that ended while it is.
    ended: HashSet<u64>,
    /// When a dump last had more than could be remembered: what is not remembered may have been there before.
    overfull: Option<Instant>,
    /// Events were lost since the last complete dump: what the next does not have has ended.
    lost: bool,
}

/// What was found out about the owner of a socket.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Name of the process.
    pub process: Option<Arc<str>>,
    /// Path of the control group.
    pub cgroup: Option<Arc<str>>,
    /// The path is still looked for.
    pub waits: bool,
}

/// What a connection did since it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// Segments sent again.
    pub retransmits: u32,
    /// Whether it got data acknowledged.
    pub progress: bool,
}

/// The sockets that are remembered, and the groups they are counted in.
#[derive(Debug)]
pub struct Tracker {
    /// The groups.
    pub groups: Groups,
    sockets: HashMap<u64, Remembered>,
    /// By their cookies.
    waiting: HashMap<u64, Waiting>,
    namespaces: HashMap<u32, Namespace>,
    limit: usize,
    /// Whether the kernel tells of closed sockets.
    events: bool,
    /// Whether a socket waits for a look at processes before it has a group.
    waits: bool,
}

impl Tracker {
    /// Nothing remembered yet; at most `limit` sockets will be. `events` says that the kernel tells of closed ones,
    /// `waits` that a socket has no group before [`Tracker::resolve`] gave it an owner.
    pub fn new(groups: Groups, limit: usize, events: bool, waits: bool) -> Self {
        Self {
            groups,
            sockets: HashMap::new(),
            waiting: HashMap::new(),
            namespaces: HashMap::new(),
            limit,
            events,
            waits,
        }
    }

    /// How many sockets are remembered.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Begins a cycle: the queues of listening sockets are counted anew.
    pub fn begin_cycle(&mut self) {
        for group in self.groups.iter_mut() {
            group.totals.queue = None;
        }
    }

    /// Begins a dump of a network namespace.
    pub fn begin(&mut self, namespace: u32) {
        let space = self.namespaces.entry(namespace).or_default();
        space.reading = true;
        space.dump = space.dump.saturating_add(1); // enough for a dump a second in 136 years
    }

    /// Takes who listens there; they come before the rest, which is told by them who opened it.
    pub fn listen(&mut self, namespace: u32, listeners: Listeners) {
        let space = self.namespaces.entry(namespace).or_default();
        space.listeners = listeners.after(std::mem::take(&mut space.listeners));
        let ports = space.listeners.ports();
        space.servers.retain(|port, _| ports.contains(port));
    }

    /// Takes a connection, a listening socket or a UDP socket of the dump. What a connection did since is for whoever
    /// shows single flows.
    pub fn see(&mut self, namespace: u32, record: &Record<'_>, owner: &Found, now: Instant) -> Option<Since> {
        let space = self.namespaces.get_mut(&namespace)?;
        if space.ended.contains(&record.cookie) {
            return None; // the dump is older than the event
        }
        let (dump, old) = (space.dump, !space.read() || space.overflowed(now));
        let look = look(record)?;
        // One that had ended and is there again was connected anew.
        if let Some(known) = self.sockets.get_mut(&record.cookie).filter(|known| !known.gone) {
            known.dump = dump;
            if known.group == NO_GROUP {
                if let Some(waiting) = self.waiting.get_mut(&record.cookie) {
                    waiting.look = look;
                    waiting.cgroup = owner.waits;
                    waiting.traits.cgroup = waiting.traits.cgroup.take().or_else(|| owner.cgroup.clone());
                }
                return None;
            }
            return count(&mut self.groups, known, &look, now);
        }
        // A UDP socket that has dropped nothing has nothing to remember.
        if matches!(look, Look::Datagrams { drops: 0 }) {
            return None;
        }
        if self.sockets.len() >= self.limit {
            self.groups.leave_out(Key::Track);
            space.overfull = Some(now);
            return None;
        }
        let traits = traits(namespace, record, &space.listeners, owner);
        let mut known = Remembered {
            before: before(&look, old),
            group: NO_GROUP,
            namespace,
            dump,
            established: false,
            selected: false,
            incoming: traits.direction == Some(Direction::Incoming),
            gone: false,
        };
        let mut since = None;
        if self.waits || owner.waits {
            let waiting = Waiting { traits, look, old, cgroup: owner.waits };
            self.waiting.insert(record.cookie, waiting);
        } else {
            serve(&mut self.namespaces, &look, &traits);
            enter(&mut self.groups, &mut known, &traits, old && established(&look), now);
            since = count(&mut self.groups, &mut known, &look, now);
        }
        self.sockets.insert(record.cookie, known);
        since
    }

    /// Whether a socket waits to be given an owner.
    pub fn waits(&self, cookie: u64) -> bool {
        self.waiting.contains_key(&cookie)
    }

    /// Ends a dump; `complete` says that it had every socket there is.
    pub fn end(&mut self, namespace: u32, complete: bool) {
        if let Some(space) = self.namespaces.get_mut(&namespace) {
            space.reading = false;
            space.ended = HashSet::new();
            if complete {
                let [latest, _] = space.complete;
                space.complete = [space.dump, latest];
            }
        }
    }

    /// Forgets the sockets that are gone without an event, once per cycle.
    pub fn sweep(&mut self, now: Instant) {
        let (namespaces, groups, events) = (&self.namespaces, &mut self.groups, self.events);
        let waiting = &mut self.waiting;
        self.sockets.retain(|cookie, known| {
            let Some(space) = namespaces.get(&known.namespace) else {
                leave(groups, known, now, None);
                return false;
            };
            if known.gone {
                return !space.lost;
            }
            let [latest, before] = space.complete;
            // The event of a connection may still be on its way. Of the others nobody tells, but a dump may pass one over
            // where its neighbour ends.
            let connection = matches!(known.before, Before::Connection(_));
            let told = events && !space.lost && connection;
            let there = known.dump >= if told || !connection { before } else { latest };
            if !there {
                // The queue of who does not listen any more is nobody's.
                let connection = |waiting: &Waiting| matches!(waiting.look, Look::Connection(_));
                if let Some(waiting) = waiting.remove(cookie).filter(connection) {
                    settle(groups, known, &waiting, now);
                }
                // How it ended is not known; most end in order.
                let event = if known.established { Event::Closed } else { Event::Failed };
                leave(groups, known, now, Some(event));
                // A connection is out of the dump when it is over, and its event comes when its process closes it.
                known.gone = told && known.group != NO_GROUP;
            }
            there || known.gone
        });
        for space in self.namespaces.values_mut() {
            let [latest, _] = space.complete;
            space.lost &= latest != space.dump;
        }
        self.groups.retire(now);
        if self.sockets.capacity() > 4 * self.sockets.len().max(1024) {
            self.sockets.shrink_to(2 * self.sockets.len());
        }
    }

    /// Whether a socket is remembered.
    pub fn knows(&self, cookie: u64) -> bool {
        self.sockets.contains_key(&cookie)
    }

    /// Takes the end of a TCP socket, as the kernel tells it. Whether it was one of those that [`Tracker::select`] named.
    pub fn closed(&mut self, namespace: u32, record: &Record<'_>, now: Instant) -> bool {
        let Some(space) = self.namespaces.get_mut(&namespace) else { return false };
        if space.reading {
            space.ended.insert(record.cookie);
        }
        let Some(tcp) = record.tcp else { return false };
        let sample = Sample::of(tcp);
        let known = self.sockets.remove(&record.cookie);
        if known.is_none() && !space.read() {
            return false; // it was there before us, as far as we know
        }
        if known.is_none() && record.peer.ip().is_unspecified() {
            return false; // it listened, or was never used
        }
        if known.is_none() && space.overflowed(now) {
            self.groups.leave_out(Key::Track);
            return false; // it may be one of those that there was no room for
        }
        let waiting = self.waiting.remove(&record.cookie);
        let mut known = known.unwrap_or_else(|| Remembered {
            before: Before::Connection(Counters::default()),
            group: NO_GROUP,
            namespace,
            dump: 0,
            established: false,
            selected: false,
            incoming: false,
            gone: false,
        });
        if known.gone {
            if record.peer.port() != 0 {
                finish(&mut self.groups, &mut known, &sample, now);
            }
            return known.selected;
        }
        if matches!(known.before, Before::Drops(_)) {
            leave(&mut self.groups, &known, now, None);
            return false;
        }
        if known.group == NO_GROUP {
            // Nobody looks for the process of what has ended.
            if let Some(waiting) = waiting {
                settle(&mut self.groups, &mut known, &waiting, now);
            } else {
                let traits = space.traits_of_ended(namespace, record);
                known.incoming = traits.direction == Some(Direction::Incoming);
                enter(&mut self.groups, &mut known, &traits, false, now);
            }
        }
        let reset_here = record.peer.port() == 0;
        if !reset_here {
            finish(&mut self.groups, &mut known, &sample, now);
        }
        if let Some(group) = self.groups.at(known.group, now) {
            begin(&mut group.totals, &mut known.established, &sample);
        }
        let event = match (known.established, reset_here) {
            (false, _) => Event::Failed,
            (true, false) if in_order(record, known.incoming) => Event::Closed,
            (true, _) => Event::Reset,
        };
        leave(&mut self.groups, &known, now, Some(event));
        known.selected
    }

    /// Notes which of the flows of the latest dump are selected by whoever shows single flows. One that it does not have
    /// stays what it was until its event comes.
    pub fn select(&mut self, selected: &HashSet<u64>) {
        for (cookie, known) in &mut self.sockets {
            if self.namespaces.get(&known.namespace).is_some_and(|space| space.dump == known.dump) {
                known.selected = selected.contains(cookie);
            }
        }
    }

    /// Notes that events were lost: what the next dump does not have has ended.
    pub fn lost(&mut self, namespace: u32) {
        if let Some(space) = self.namespaces.get_mut(&namespace) {
            space.lost = true;
        }
    }

    /// Gives the sockets that wait their owners, as far as they were found; `None` for one that has to wait for the next
    /// cycle.
    pub fn resolve(&mut self, owner: impl Fn(u64) -> Option<Found>, now: Instant) {
        let (groups, sockets, namespaces) = (&mut self.groups, &mut self.sockets, &mut self.namespaces);
        self.waiting.retain(|cookie, waiting| {
            if waiting.cgroup {
                return true;
            }
            let Some(found) = owner(*cookie) else { return true };
            waiting.traits.process = found.process;
            waiting.traits.cgroup = waiting.traits.cgroup.take().or(found.cgroup);
            if let Some(known) = sockets.get_mut(cookie) {
                serve(namespaces, &waiting.look, &waiting.traits);
                settle(groups, known, waiting, now);
            }
            false
        });
        // As many as at the start of the agent will hardly wait again.
        self.waiting.shrink_to(2 * self.waiting.len());
    }

    /// Forgets a network namespace that is gone, its groups included.
    pub fn forget(&mut self, namespace: u32, now: Instant) {
        self.namespaces.remove(&namespace);
        let groups = &mut self.groups;
        self.sockets.retain(|_, known| {
            let there = known.namespace != namespace;
            if !there && !known.gone {
                // Some are in the group for the rest, which stays.
                let event = if known.established { Event::Closed } else { Event::Failed };
                leave(groups, known, now, Some(event));
            }
            there
        });
        self.waiting.retain(|_, waiting| waiting.traits.namespace != namespace);
        self.groups.forget(namespace);
    }
}

impl Namespace {
    /// Whether there was a complete dump, so that what comes is new.
    fn read(&self) -> bool {
        self.complete != [0, 0]
    }

    /// Whether there was no room lately for all that a dump had; the events of some of that may still come.
    fn overflowed(&self, now: Instant) -> bool {
        self.overfull.is_some_and(|at| now.saturating_duration_since(at) < timeouts::OVERFULL)
    }

    /// What is known of a connection that no dump had: the kernel does not say whose it was. One that was opened by the
    /// peer belonged, most likely, to whoever listens on its port.
    fn traits_of_ended(&self, namespace: u32, record: &Record<'_>) -> Traits {
        let mut traits = traits(namespace, record, &self.listeners, &Found::default());
        if traits.direction == Some(Direction::Incoming)
            && let Some(server) = self.servers.get(&record.local.port())
        {
            let Server { uid, cgroup, process } = server.clone();
            traits = Traits { uid, cgroup, process, ..traits };
        }
        traits
    }
}

/// Notes whose socket it is that listens on a port.
fn serve(namespaces: &mut HashMap<u32, Namespace>, look: &Look, traits: &Traits) {
    if let (Look::Listener { .. }, Some(port)) = (look, traits.port)
        && let Some(space) = namespaces.get_mut(&traits.namespace)
    {
        let Traits { uid, cgroup, process, .. } = traits.clone();
        space.servers.insert(port, Server { uid, cgroup, process });
    }
}

/// Puts a socket that has waited into its group, and counts what was seen of it meanwhile.
fn settle(groups: &mut Groups, known: &mut Remembered, waiting: &Waiting, now: Instant) {
    enter(groups, known, &waiting.traits, waiting.old && established(&waiting.look), now);
    count(groups, known, &waiting.look, now);
}
