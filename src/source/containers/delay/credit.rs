//! From what processes have waited to what containers have: differences between two looks, and what exits tell. Pure.

use super::taskstats::{Exit, Waited};
use std::collections::HashMap;

/// Parents that are followed up from a process, at most.
const STEPS: usize = 64;

/// What is known of processes that are in containers.
#[derive(Debug, Default)]
pub struct Credits {
    known: HashMap<u32, KnownProcess>,
    /// Whether processes were looked at before: what they waited by then is not counted.
    begun: bool,
}

/// A process as it was when it was last looked at.
#[derive(Debug, Clone, Copy)]
struct KnownProcess {
    who: u64,
    waited: Waited,
    /// Whether it was not there at the last look.
    gone: bool,
}

/// What came since; all of it where a number has gone back, since it is another process then.
fn since(now: Waited, last: Waited) -> Waited {
    match (now.cpu.checked_sub(last.cpu), now.disk.checked_sub(last.disk)) {
        (Some(cpu), Some(disk)) => Waited { cpu, disk },
        _ => now,
    }
}

impl Credits {
    /// Credits what happened since the last look. `alive`: the processes of containers with whose they are and what they
    /// have waited; `exits`: those that exited meanwhile, in their order.
    pub fn look(
        &mut self,
        alive: &HashMap<u32, (u64, Waited)>,
        exits: &[Exit],
        mut credit: impl FnMut(u64, Waited),
    ) {
        let ended = self.exits(alive, exits, &mut credit);
        // What exited after it was asked about is not there any more.
        let there = |pid: &u32| alive.contains_key(pid) && !ended.contains_key(pid);
        for (pid, (who, waited)) in alive.iter().filter(|(pid, _)| there(pid)) {
            let last = self.known.insert(*pid, KnownProcess { who: *who, waited: *waited, gone: false });
            match last {
                Some(last) => credit(*who, since(*waited, last.waited)),
                None if self.begun => credit(*who, *waited),
                None => {}
            }
        }
        // One that was not there when it was asked about may have its message yet to come.
        self.known.retain(|pid, known| {
            let there = there(pid);
            !std::mem::replace(&mut known.gone, !there) || there
        });
        self.begun = true;
    }

    /// Those that ended, with whose they were.
    fn exits(
        &mut self,
        alive: &HashMap<u32, (u64, Waited)>,
        exits: &[Exit],
        credit: &mut impl FnMut(u64, Waited),
    ) -> HashMap<u32, u64> {
        let parents: HashMap<u32, u32> = exits.iter().map(|exit| (exit.pid, exit.parent)).collect();
        let mut ended: HashMap<u32, u64> = HashMap::new();
        for exit in exits {
            let known = self.known.get(&exit.pid).copied();
            // A kernel that does not say it: a thread that was looked at as a process, and is there no more.
            let guess = known.is_some() && !alive.contains_key(&exit.pid);
            if !exit.whole.unwrap_or(guess) {
                continue;
            }
            if let Some(known) = known {
                credit(known.who, since(exit.waited, known.waited));
                self.known.remove(&exit.pid);
                ended.insert(exit.pid, known.who);
                continue;
            }
            let who = |pid: &u32| {
                let known = self.known.get(pid).map(|known| known.who);
                known.or_else(|| ended.get(pid).copied()).or_else(|| alive.get(pid).map(|(who, _)| *who))
            };
            let ancestors = std::iter::successors(Some(exit.parent), |pid| parents.get(pid).copied());
            if self.begun
                && let Some(who) = ancestors.take(STEPS).find_map(|pid| who(&pid))
            {
                credit(who, exit.waited);
                ended.insert(exit.pid, who);
            }
        }
        ended
    }
}
