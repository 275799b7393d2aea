//! The schedule of the probes: when each target is probed, and which probe starts when concurrency slots are short
//! (pure: times are arguments).
//!
//! The intervals of targets begin at different times, so that ten thousand do not all start at once; a probe starts
//! after its interval begins, at random within the jitter. There are `limit` concurrency slots, of which a probe takes
//! one, or one for each address. Targets that time out use their slots longest and must not starve the others: they get
//! at most half of the slots, and together with targets never probed before at most three quarters. Among the probes
//! that may start, the one scheduled first starts first, so none waits forever.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Time since the start of the schedule.
pub type Moment = Duration;

/// A target in the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(u32);

/// Expected duration of the next probe of a target, judged by the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// The last probe took less than half of its time-out.
    Quick,
    /// The target was never probed.
    New,
    /// The last probe took longer, or timed out.
    Slow,
}

/// All paces, the quickest first.
const PACES: [Pace; 3] = [Pace::Quick, Pace::New, Pace::Slow];

#[derive(Debug)]
struct Scheduled {
    /// Incremented when the number is given to another target.
    generation: u32,
    interval: Duration,
    jitter: Duration,
    first: Moment,
    at: Moment,
    pace: Pace,
    /// Number of concurrency slots of a probe.
    slots: usize,
    running: bool,
    gone: bool,
}

/// The schedule of all targets.
#[derive(Debug)]
pub struct Schedule {
    targets: Vec<Scheduled>,
    free: Vec<u32>,
    due: BinaryHeap<Reverse<(Moment, TargetId, u32)>>,
    waiting: [VecDeque<(Moment, TargetId, u32)>; 3],
    running: [usize; 3],
    limit: usize,
    chance: RandomState,
}

/// A probe that may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeStart {
    /// The target.
    pub id: TargetId,
    /// Delay after the scheduled time, jitter included.
    pub late: Duration,
}

impl TargetId {
    /// The number of the target: small, and reused after the target is removed.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Schedule {
    /// Creates it without targets, with `limit` concurrency slots, at least 2.
    pub fn new(limit: usize) -> Self {
        Self {
            targets: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
            waiting: Default::default(),
            running: [0; 3],
            limit: limit.max(2),
            chance: RandomState::new(),
        }
    }

    /// Adds a target whose first interval starts at random within `spread` from now.
    pub fn add(&mut self, now: Moment, interval: Duration, jitter: Duration, spread: Duration) -> TargetId {
        let id = TargetId(
            self.free.pop().unwrap_or_else(|| u32::try_from(self.targets.len()).unwrap_or(u32::MAX)),
        );
        let begin = now + self.chance(id, u64::MAX, spread);
        let generation = self.targets.get(id.index()).map_or(0, |target| target.generation);
        let target = Scheduled {
            generation,
            interval: interval.max(Duration::from_millis(1)),
            jitter,
            first: begin,
            at: begin,
            pace: Pace::New,
            slots: 1,
            running: false,
            gone: false,
        };
        match self.targets.get_mut(id.index()) {
            Some(free) => *free = target,
            None => self.targets.push(target),
        }
        self.due.push(Reverse((begin, id, generation)));
        id
    }

    /// Sets the number of slots of a target's next probes: one for each address, at most a quarter of all, since more
    /// might never be free.
    pub fn set_slots(&mut self, id: TargetId, slots: usize) {
        let most = (self.limit / 4).max(1);
        if let Some(target) = self.targets.get_mut(id.index()).filter(|target| !target.running) {
            target.slots = slots.clamp(1, most);
        }
    }

    /// Removes a target. A probe of it that is running keeps its slots until [`Schedule::end`].
    pub fn remove(&mut self, id: TargetId) {
        if let Some(target) = self.targets.get_mut(id.index()).filter(|target| !target.gone) {
            target.gone = true;
            target.generation = target.generation.wrapping_add(1);
            if !target.running {
                self.free.push(id.0);
            }
        }
    }

    /// Time of the next scheduled probe. A probe that waits for slots may start when [`Schedule::end`] releases some.
    pub fn next(&self) -> Option<Moment> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next probe that may start now.
    pub fn begin(&mut self, now: Moment) -> Option<ProbeStart> {
        while let Some(Reverse((at, id, generation))) =
            self.due.peek().copied().filter(|next| next.0.0 <= now)
        {
            self.due.pop();
            if let Some(target) =
                self.targets.get(id.index()).filter(|target| target.generation == generation)
                && let Some(lane) = self.waiting.get_mut(target.pace as usize)
            {
                lane.push_back((at, id, generation));
            }
        }
        // Removes targets that were removed while they waited.
        for lane in &mut self.waiting {
            while let Some((_, id, generation)) = lane.front()
                && self.targets.get(id.index()).is_none_or(|target| target.generation != *generation)
            {
                lane.pop_front();
            }
        }
        let (_, pace, slots) = PACES
            .into_iter()
            .filter_map(|pace| {
                let (at, id, _) = self.waiting.get(pace as usize)?.front()?;
                let slots = self.targets.get(id.index())?.slots;
                self.may(pace, slots).then_some((at, pace, slots))
            })
            .min()?;
        if self.running() + slots > self.limit {
            return None; // a probe scheduled later must not take the slots that this one waits for
        }
        let (at, id, _) = self.waiting.get_mut(pace as usize)?.pop_front()?;
        let target = self.targets.get_mut(id.index())?;
        target.running = true;
        *self.running.get_mut(pace as usize)? += target.slots;
        Some(ProbeStart { id, late: now.saturating_sub(at) })
    }

    /// Whether probes of this pace may take this many more slots. A limit counts a pace and the slower ones together.
    fn may(&self, pace: Pace, slots: usize) -> bool {
        let [_, new, slow] = self.running;
        let unsure = new + slow + slots <= (self.limit * 3 / 4).max(1);
        match pace {
            Pace::Quick => true,
            Pace::New => unsure,
            Pace::Slow => unsure && slow + slots <= self.limit / 2,
        }
    }

    /// Ends a probe; `pace` is that of the next.
    pub fn end(&mut self, id: TargetId, now: Moment, pace: Pace) {
        let Some(target) = self.targets.get_mut(id.index()).filter(|target| target.running) else { return };
        target.running = false;
        if let Some(running) = self.running.get_mut(target.pace as usize) {
            *running -= target.slots;
        }
        if target.gone {
            self.free.push(id.0);
            return;
        }
        target.pace = pace;
        let (interval, jitter, first, generation) =
            (target.interval, target.jitter, target.first, target.generation);
        // The next interval that has not begun: missed intervals are not made up for.
        let since = |moment: Moment| moment.saturating_sub(first).as_nanos();
        let cycle =
            (since(target.at) / interval.as_nanos() + 1).max(since(now).div_ceil(interval.as_nanos()));
        let cycle = u64::try_from(cycle).unwrap_or(u64::MAX);
        let base = first + Duration::from_nanos(nanoseconds(interval).saturating_mul(cycle));
        let at = base + self.chance(id, cycle, jitter);
        if let Some(target) = self.targets.get_mut(id.index()) {
            target.at = at;
        }
        self.due.push(Reverse((at, id, generation)));
    }

    /// A random duration below `most`.
    fn chance(&self, id: TargetId, cycle: u64, most: Duration) -> Duration {
        let most = nanoseconds(most);
        let chance = self.chance.hash_one((id, cycle));
        Duration::from_nanos(if most == 0 { 0 } else { chance % most })
    }

    /// Slots in use.
    pub fn running(&self) -> usize {
        self.running.iter().sum()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
