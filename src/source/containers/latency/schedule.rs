//! Which addresses are sent an echo request in a cycle, and what is known of each. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Maximum number of addresses of one container in one cycle; the others are requested in the next ones.
pub const OF_ONE: usize = 50;

/// Maximum number of addresses of all containers in one cycle.
pub const OF_ALL: usize = 1000;

/// Requests without a reply after which an address is taken not to answer.
pub const MISSES: u32 = 3;

/// Time after which an address that does not answer is sent another request.
pub const AGAIN: Duration = Duration::from_mins(10);

/// Least time between two requests to an address, where cycles follow each other closely.
const SPACING: Duration = Duration::from_secs(1);

/// The destination addresses of all containers.
#[derive(Debug, Default)]
pub struct Schedule {
    /// By the number of the container and the address.
    known: HashMap<(u64, IpAddr), Address>,
    /// Requests sent so far.
    requests: u64,
}

#[derive(Debug, Default)]
struct Address {
    asked: Option<Instant>,
    /// Number of the last request to it, counted over all addresses; 0 before the first.
    last_request: u64,
    /// The last round trip; `None` once the address is taken not to answer.
    round_trip: Option<Duration>,
    /// Requests without a reply since the last one.
    missed: u32,
}

impl Address {
    fn is_due(&self, now: Instant) -> bool {
        let pause = if self.missed < MISSES { SPACING } else { AGAIN };
        self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= pause)
    }
}

impl Schedule {
    /// The addresses that are sent a request at `now`, by the number of their container: of those that are `there`, the ones whose
    /// last request is the longest ago. All others are forgotten.
    pub fn due(
        &mut self,
        there: impl Iterator<Item = (u64, IpAddr)>,
        now: Instant,
    ) -> BTreeMap<u64, Vec<IpAddr>> {
        let there: HashSet<(u64, IpAddr)> = there.collect();
        self.known.retain(|key, _| there.contains(key));
        for key in there {
            self.known.entry(key).or_default();
        }
        let due = self.known.iter().filter(|(_, address)| address.is_due(now));
        let mut due: Vec<(u64, u64, IpAddr)> =
            due.map(|((number, ip), address)| (address.last_request, *number, *ip)).collect();
        due.sort_unstable();
        let mut chosen: BTreeMap<u64, Vec<IpAddr>> = BTreeMap::new();
        let mut count = 0;
        for (_, number, ip) in due {
            let of_one = chosen.entry(number).or_default();
            if count < OF_ALL && of_one.len() < OF_ONE {
                of_one.push(ip);
                count += 1;
                if let Some(address) = self.known.get_mut(&(number, ip)) {
                    self.requests += 1;
                    (address.asked, address.last_request) = (Some(now), self.requests);
                }
            }
        }
        chosen.retain(|_, addresses| !addresses.is_empty());
        chosen
    }

    /// Takes the round trip to an address; `None`: there was no reply.
    pub fn take(&mut self, number: u64, ip: IpAddr, round_trip: Option<Duration>) {
        let Some(address) = self.known.get_mut(&(number, ip)) else { return };
        if round_trip.is_some() {
            (address.round_trip, address.missed) = (round_trip, 0);
        } else {
            address.missed = (address.missed + 1).min(MISSES);
            if address.missed == MISSES {
                address.round_trip = None;
            }
        }
    }

    /// The last round trip to each address that answers.
    pub fn round_trips(&self) -> impl Iterator<Item = (u64, IpAddr, Duration)> {
        self.known.iter().filter_map(|((number, ip), address)| Some((*number, *ip, address.round_trip?)))
    }
}
