//! When each target's turn is, and who may begin where not everybody can (pure: the time is told, not asked).
//!
//! Each target has its own beat, begun at its own moment, so that ten thousand of them do not all begin at once; every
//! turn comes a little later than the beat, by chance and up to the jitter. There are `limit` places, of which a turn takes
//! one, or one for each address that it probes. The dead, which hold theirs until their time is up, may not take those of
//! the rest: those that ran into their time limit get no more than half of them, and together with those nothing is known
//! of yet no more than three quarters. Among those that may begin, whose turn came first begins first, so nobody waits for
//! ever.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Time since the schedule began.
pub type Moment = Duration;

/// A place in the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u32);

/// What the last probe says of how long the next will hold its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// It ended before its time was up.
    Quick,
    /// There was none yet.
    New,
    /// Its time was up.
    Slow,
}

/// Trusts, from the best to the worst.
const TRUSTS: [Trust; 3] = [Trust::Quick, Trust::New, Trust::Slow];

#[derive(Debug)]
struct Turn {
    /// Changes when the place is given to another target.
    generation: u32,
    interval: Duration,
    jitter: Duration,
    first: Moment,
    at: Moment,
    trust: Trust,
    /// Places it takes.
    places: usize,
    running: bool,
    gone: bool,
}

/// The turns of all targets.
#[derive(Debug)]
pub struct Schedule {
    turns: Vec<Turn>,
    free: Vec<u32>,
    due: BinaryHeap<Reverse<(Moment, Id, u32)>>,
    waiting: [VecDeque<(Moment, Id, u32)>; 3],
    running: [usize; 3],
    limit: usize,
    chance: RandomState,
}

/// A probe that may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Of which target.
    pub id: Id,
    /// How much later than its turn, jitter included.
    pub late: Duration,
}

impl Id {
    /// Its number: small, and used again when its target is gone.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Schedule {
    /// Without targets. At most `limit` places are taken at a time, at least 2.
    pub fn new(limit: usize) -> Self {
        Self {
            turns: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
            waiting: Default::default(),
            running: [0; 3],
            limit: limit.max(2),
            chance: RandomState::new(),
        }
    }

    /// Takes a target in whose beat begins somewhere within `spread` from now.
    pub fn add(&mut self, now: Moment, interval: Duration, jitter: Duration, spread: Duration) -> Id {
        let id = Id(self.free.pop().unwrap_or_else(|| u32::try_from(self.turns.len()).unwrap_or(u32::MAX)));
        let begin = now + self.chance(id, u64::MAX, spread);
        let generation = self.turns.get(id.index()).map_or(0, |turn| turn.generation);
        let turn = Turn {
            generation,
            interval: interval.max(Duration::from_millis(1)),
            jitter,
            first: begin,
            at: begin,
            trust: Trust::New,
            places: 1,
            running: false,
            gone: false,
        };
        match self.turns.get_mut(id.index()) {
            Some(free) => *free = turn,
            None => self.turns.push(turn),
        }
        self.due.push(Reverse((begin, id, generation)));
        id
    }

    /// From its next turn on a target takes that many places: one for each of its addresses. More than a quarter of all
    /// would have it wait for ever.
    pub fn takes(&mut self, id: Id, places: usize) {
        let most = (self.limit / 4).max(1);
        if let Some(turn) = self.turns.get_mut(id.index()).filter(|turn| !turn.running) {
            turn.places = places.clamp(1, most);
        }
    }

    /// Forgets a target. A probe of it that is running keeps its place until [`Schedule::end`].
    pub fn remove(&mut self, id: Id) {
        if let Some(turn) = self.turns.get_mut(id.index()).filter(|turn| !turn.gone) {
            turn.gone = true;
            turn.generation = turn.generation.wrapping_add(1);
            if !turn.running {
                self.free.push(id.0);
            }
        }
    }

    /// When the next turn comes. Whoever waits for a place may begin when one is given back, which is told by
    /// [`Schedule::end`].
    pub fn next(&self) -> Option<Moment> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next probe that may begin now.
    pub fn begin(&mut self, now: Moment) -> Option<Begin> {
        while let Some(Reverse((at, id, generation))) =
            self.due.peek().copied().filter(|next| next.0.0 <= now)
        {
            self.due.pop();
            if let Some(turn) = self.turns.get(id.index()).filter(|turn| turn.generation == generation)
                && let Some(lane) = self.waiting.get_mut(turn.trust as usize)
            {
                lane.push_back((at, id, generation));
            }
        }
        // Those that were removed while they waited.
        for lane in &mut self.waiting {
            while let Some((_, id, generation)) = lane.front()
                && self.turns.get(id.index()).is_none_or(|turn| turn.generation != *generation)
            {
                lane.pop_front();
            }
        }
        let (_, trust, places) = TRUSTS
            .into_iter()
            .filter_map(|trust| {
                let (at, id, _) = self.waiting.get(trust as usize)?.front()?;
                let places = self.turns.get(id.index())?.places;
                self.may(trust, places).then_some((at, trust, places))
            })
            .min()?;
        if self.running() + places > self.limit {
            return None; // whose turn came later takes none of the places that this one waits for
        }
        let (at, id, _) = self.waiting.get_mut(trust as usize)?.pop_front()?;
        let turn = self.turns.get_mut(id.index())?;
        turn.running = true;
        *self.running.get_mut(trust as usize)? += turn.places;
        Some(Begin { id, late: now.saturating_sub(at) })
    }

    /// Whether so many more places of this trust may be taken, where that many are free: the caps count a trust and those
    /// worse than it.
    fn may(&self, trust: Trust, places: usize) -> bool {
        let [_, new, slow] = self.running;
        let unsure = new + slow + places <= (self.limit * 3 / 4).max(1);
        match trust {
            Trust::Quick => true,
            Trust::New => unsure,
            Trust::Slow => unsure && slow + places <= self.limit / 2,
        }
    }

    /// A probe has ended; says what it showed.
    pub fn end(&mut self, id: Id, now: Moment, trust: Trust) {
        let Some(turn) = self.turns.get_mut(id.index()).filter(|turn| turn.running) else { return };
        turn.running = false;
        if let Some(running) = self.running.get_mut(turn.trust as usize) {
            *running -= turn.places;
        }
        if turn.gone {
            self.free.push(id.0);
            return;
        }
        turn.trust = trust;
        let (interval, jitter, first, generation) = (turn.interval, turn.jitter, turn.first, turn.generation);
        // The next beat after the one that was, or the first that is still to come: what was missed is not made up for.
        let since = |moment: Moment| moment.saturating_sub(first).as_nanos();
        let beat = (since(turn.at) / interval.as_nanos() + 1).max(since(now).div_ceil(interval.as_nanos()));
        let beat = u64::try_from(beat).unwrap_or(u64::MAX);
        let base = first + Duration::from_nanos(nanoseconds(interval).saturating_mul(beat));
        let at = base + self.chance(id, beat, jitter);
        if let Some(turn) = self.turns.get_mut(id.index()) {
            turn.at = at;
        }
        self.due.push(Reverse((at, id, generation)));
    }

    /// A part of `most`, by chance.
    fn chance(&self, id: Id, beat: u64, most: Duration) -> Duration {
        let most = nanoseconds(most);
        let chance = self.chance.hash_one((id, beat));
        Duration::from_nanos(if most == 0 { 0 } else { chance % most })
    }

    /// Places that are taken.
    pub fn running(&self) -> usize {
        self.running.iter().sum()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
