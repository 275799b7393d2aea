//! Groups of sockets, and their bounds.
//!
//! A group is the sockets with the same values of the configured keys. The number of groups is bounded, and each key
//! has at most its share of the bound, so that ports or containers that come and go do not displace the others. A value
//! over a limit becomes `~other` and is counted. A group without sockets ends after a while, with its series, and its
//! values are freed.

use super::attributes::Attributes;
use super::delta::Delta;
use super::labels::Key;
use super::peers::Peers;
use super::total::Totals;
use crate::metric::{Label, Labels};
use crate::source::sockets::config::GroupBy;
use crate::source::sockets::timeouts;
use crate::text::OTHER;
use ports::Ports;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use values::{ABSENT, IS_OTHER, IS_UNKNOWN, Values};

mod ports;
mod values;

/// The keys: the attribute, the key under which values over the limit are counted, and the divisor that gives the key's
/// share of the limit.
const KEYS: [(GroupBy, Label, Option<Key>, usize); 8] = [
    (GroupBy::Direction, Label::Direction, None, 1),
    (GroupBy::ServicePort, Label::ServerPort, Some(Key::ServicePort), 4),
    (GroupBy::PeerGroup, Label::PeerGroup, Some(Key::PeerGroup), 1),
    (GroupBy::Cgroup, Label::Cgroup, Some(Key::Cgroup), 2),
    (GroupBy::Container, Label::ContainerId, Some(Key::Container), 2),
    (GroupBy::Process, Label::ProcessName, Some(Key::Process), 2),
    (GroupBy::Uid, Label::UserId, Some(Key::Uid), 2),
    (GroupBy::Family, Label::NetworkType, None, 1),
];

/// Index of the port among the keys.
const PORT: usize = 1;

/// Instead of the number of a network namespace: all of them.
const ALL: u32 = u32::MAX;

/// Identity of a group: the network namespace, and a code for the value of each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct GroupCode {
    namespace: u32,
    values: [u32; KEYS.len()],
}

impl GroupCode {
    /// The code of the port.
    fn port(&self) -> u32 {
        self.values.get(PORT).copied().unwrap_or(ABSENT)
    }
}

/// Sockets with the same attributes, and their totals.
#[derive(Debug)]
pub struct Group {
    code: GroupCode,
    /// Attributes of the group.
    pub labels: Labels,
    /// Sums over the sockets.
    pub totals: Totals,
    /// Number of sockets in the group.
    pub sockets: usize,
    /// Number of sockets that were ever in the group.
    joined: u32,
    touched: Instant,
    /// Whether the totals were observed since they last changed.
    observed: bool,
}

impl Group {
    /// Number of its network namespace; `None` for the group `~other` of all of them.
    pub fn namespace(&self) -> Option<u32> {
        Some(self.code.namespace).filter(|namespace| *namespace != ALL)
    }

    /// Whether the group may end: it has no sockets, and its totals were observed.
    fn is_over(&self) -> bool {
        self.sockets == 0 && self.observed
    }
}

/// All groups of sockets, by network namespace and attribute values.
#[derive(Debug)]
pub struct Groups {
    by: [bool; KEYS.len()],
    limit: usize,
    values: [Values; KEYS.len()],
    ports: Ports,
    peers: Peers,
    namespaces: HashMap<u32, Arc<str>>,
    all: HashMap<u32, Group>,
    numbers: HashMap<GroupCode, u32>,
    next: u32,
    left_out: HashMap<Key, u64>,
}

impl Groups {
    /// Creates it without groups. At most `limit` groups, and one for `~other`.
    pub fn new(by: &[GroupBy], limit: usize, peers: Peers) -> Self {
        let values = KEYS.map(|(_, _, _, share)| Values::new((limit / share).max(1)));
        Self {
            by: KEYS.map(|(key, ..)| by.contains(&key)),
            limit,
            values,
            ports: Ports::default(),
            peers,
            namespaces: HashMap::new(),
            all: HashMap::new(),
            numbers: HashMap::new(),
            next: 0,
            left_out: HashMap::new(),
        }
    }

    /// Whether sockets are grouped by this key.
    pub fn is_by(&self, key: GroupBy) -> bool {
        KEYS.iter().zip(self.by).any(|((known, ..), by)| by && *known == key)
    }

    /// Sets the name of a network namespace; its groups get the attribute `netns`.
    pub fn name(&mut self, namespace: u32, label: Arc<str>) {
        self.namespaces.insert(namespace, label);
    }

    /// Adds a socket to its group. Returns the number of the group.
    pub fn join(&mut self, attributes: &Attributes, now: Instant) -> u32 {
        if !attributes.certain {
            self.leave_out(Key::Direction);
        }
        let code = self.code(attributes);
        let number = self.numbered(code, now);
        if let Some(group) = self.group_mut(number, now) {
            group.sockets += 1;
            group.joined = group.joined.saturating_add(1);
        }
        number
    }

    /// Removes a socket from its group.
    pub fn leave(&mut self, number: u32, now: Instant) {
        if let Some(group) = self.group_mut(number, now) {
            group.sockets = group.sockets.saturating_sub(1);
        }
    }

    /// Adds the changes of a socket to a group.
    pub fn add(&mut self, number: u32, delta: &Delta, now: Instant) {
        if let Some(group) = self.group_mut(number, now) {
            group.totals.add(delta);
        }
    }

    /// Adds a connection in the accept queue to the group of the listening socket; `abandoned` says that the client has
    /// closed it since the last cycle.
    pub fn add_waiting(&mut self, number: u32, age: Duration, abandoned: bool, now: Instant) {
        if let Some(group) = self.group_mut(number, now) {
            group.totals.add_waiting(age, abandoned);
        }
    }

    /// The values of a socket. A value over its limit becomes `~other`, and is counted as left out.
    fn code(&mut self, attributes: &Attributes) -> GroupCode {
        let mut code = GroupCode { namespace: attributes.namespace, values: [ABSENT; KEYS.len()] };
        let by_port = self.by.get(PORT) == Some(&true);
        let port = by_port.then(|| self.port_code(attributes.port, attributes.port_kind));
        for (index, (key, _, counted, _)) in KEYS.iter().enumerate() {
            let (Some(true), Some(value), Some(values)) =
                (self.by.get(index), code.values.get_mut(index), self.values.get_mut(index))
            else {
                continue;
            };
            let number = |number: u32| if number < IS_OTHER { Some(number) } else { None };
            let found = match key {
                GroupBy::Direction => match attributes.direction {
                    None => continue,
                    Some(direction) => values.of_text(&direction.word().into()),
                },
                GroupBy::PeerGroup => match attributes.peer {
                    None => continue,
                    Some(peer) => {
                        let name = self.peers.name(self.peers.group(peer));
                        values.of_text(&name)
                    }
                },
                GroupBy::Family => values.of_text(&attributes.family.word().into()),
                GroupBy::ServicePort => port.flatten(),
                GroupBy::Uid => match attributes.uid.and_then(number) {
                    None => Some(IS_UNKNOWN),
                    Some(uid) => values.of_number(uid),
                },
                GroupBy::Cgroup => match &attributes.cgroup {
                    None => Some(IS_UNKNOWN),
                    Some(path) => values.of_name(path),
                },
                GroupBy::Container => match &attributes.cgroup {
                    None => Some(IS_UNKNOWN),
                    // Found in the whole path: the label has only the beginning of a long one.
                    Some(path) => match crate::host::cgroup::container(path) {
                        None => continue, // the socket is in no container
                        Some(id) => values.of_name(id),
                    },
                },
                GroupBy::Process => match &attributes.process {
                    None => Some(IS_UNKNOWN),
                    Some(name) => values.of_name(name),
                },
            };
            *value = found.unwrap_or(IS_OTHER);
            if let (None, Some(key)) = (found, counted) {
                *self.left_out.entry(*key).or_default() += 1;
            }
        }
        code
    }

    fn numbered(&mut self, code: GroupCode, now: Instant) -> u32 {
        if let Some(number) = self.numbers.get(&code) {
            return *number;
        }
        // The group `~other` is one for all network namespaces, and does not count towards the limit. If the namespaces
        // have no names, it is also the group of sockets whose values are all over their limits.
        let namespace = if self.namespaces.is_empty() { code.namespace } else { ALL };
        let rest = GroupCode { namespace, values: self.by.map(|by| if by { IS_OTHER } else { ABSENT }) };
        if code == rest {
            return self.make(rest, now);
        }
        let groups = self.all.len() - usize::from(self.numbers.contains_key(&rest));
        // Taken before another group ends, which may be the last with these values.
        self.acquire(code);
        if groups >= self.limit && !self.make_room(rest) {
            self.release(code);
            *self.left_out.entry(Key::Group).or_default() += 1;
            return match self.numbers.get(&rest) {
                Some(number) => *number,
                None => self.make(rest, now),
            };
        }
        self.make(code, now)
    }

    fn make(&mut self, code: GroupCode, now: Instant) -> u32 {
        let values = self.values.iter().zip(code.values).zip(KEYS);
        let mut labels: Vec<(Label, Arc<str>)> =
            values.filter_map(|((values, code), (_, label, ..))| Some((label, values.text(code)?))).collect();
        if !self.namespaces.is_empty() {
            let name = self.namespaces.get(&code.namespace);
            labels.push((Label::Netns, name.map_or_else(|| OTHER.into(), Arc::clone)));
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.numbers.insert(code, number);
        let totals = Totals::default();
        let labels = Labels::new(labels);
        self.all.insert(
            number,
            Group { code, labels, totals, sockets: 0, joined: 0, touched: now, observed: false },
        );
        number
    }

    fn acquire(&mut self, code: GroupCode) {
        for (values, code) in self.values.iter_mut().zip(code.values) {
            values.acquire(code);
        }
    }

    fn release(&mut self, code: GroupCode) {
        for (values, code) in self.values.iter_mut().zip(code.values) {
            values.release(code);
        }
        if !self.values.get(PORT).is_some_and(|values| values.has_number(code.port())) {
            self.ports.remove(code.port());
        }
    }

    /// Ends the group that has been without sockets for the longest time, other than `~other`. `false` if every group
    /// has a socket, or totals that were not observed.
    fn make_room(&mut self, rest: GroupCode) -> bool {
        let over = |group: &Group| group.is_over() && group.code != rest;
        let empty = self.all.iter().filter(|(_, group)| over(group));
        let oldest = empty.min_by_key(|(_, group)| group.touched).map(|(number, _)| *number);
        oldest.is_some_and(|number| {
            self.end(number);
            true
        })
    }

    fn end(&mut self, number: u32) {
        if let Some(group) = self.all.remove(&number) {
            self.numbers.remove(&group.code);
            self.release(group.code);
        }
    }

    /// The group with this number, with its time of use updated.
    fn group_mut(&mut self, number: u32, now: Instant) -> Option<&mut Group> {
        let group = self.all.get_mut(&number)?;
        group.touched = now;
        group.observed = false;
        Some(group)
    }

    /// Marks the totals of every group as observed.
    pub fn observed(&mut self) {
        for group in self.all.values_mut() {
            group.observed = true;
        }
        self.ports.observed();
    }

    /// Ends groups that have been without sockets for a while and whose totals were observed.
    pub fn retire(&mut self, now: Instant) {
        let over = |group: &Group| {
            group.is_over() && now.saturating_duration_since(group.touched) >= timeouts::GROUP_IDLE
        };
        let ended: Vec<u32> =
            self.all.iter().filter(|(_, group)| over(group)).map(|(number, _)| *number).collect();
        for number in ended {
            self.end(number);
        }
    }

    /// Ends the groups of a network namespace that is gone.
    pub fn forget(&mut self, namespace: u32) {
        let ended: Vec<u32> = self
            .all
            .iter()
            .filter(|(_, group)| group.code.namespace == namespace)
            .map(|(number, _)| *number)
            .collect();
        for number in ended {
            self.end(number);
        }
        self.namespaces.remove(&namespace);
    }

    /// Every group.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.all.values()
    }

    /// Begins a cycle: resets the sums that are not cumulative, as the accept queues.
    pub fn begin_cycle(&mut self) {
        for group in self.all.values_mut() {
            group.totals.begin_cycle();
        }
    }

    /// Counts a socket that is over a limit.
    pub fn leave_out(&mut self, key: Key) {
        *self.left_out.entry(key).or_default() += 1;
    }

    /// Number of sockets left out so far, by the limit that was exceeded.
    pub fn left_out(&self, key: Key) -> u64 {
        self.left_out.get(&key).copied().unwrap_or_default()
    }
}
