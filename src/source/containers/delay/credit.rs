//! Delays of containers from those of their processes: differences between two cycles, and the last values at exit. Pure.

use super::taskstats::{Exit, ProcessDelays};
use std::collections::HashMap;

/// Maximum number of ancestors of a process that are followed.
const STEPS: usize = 64;

/// The last known delays of the processes in containers.
#[derive(Debug, Default)]
pub struct Credits {
    known: HashMap<u32, KnownProcess>,
    /// Whether this is not the first cycle: delays from before it are not counted.
    begun: bool,
}

/// A process in the last cycle.
#[derive(Debug, Clone, Copy)]
struct KnownProcess {
    workload: u64,
    waited: ProcessDelays,
    /// Whether it was missing in the last cycle.
    gone: bool,
}

/// The difference; the whole value if it went back, because then it is another process.
fn since(now: ProcessDelays, last: ProcessDelays) -> ProcessDelays {
    match (now.cpu.checked_sub(last.cpu), now.disk.checked_sub(last.disk)) {
        (Some(cpu), Some(disk)) => ProcessDelays { cpu, disk },
        _ => now,
    }
}

impl Credits {
    /// Credits the delays since the last cycle. `alive`: the processes with the number of their container and the time they
    /// have waited; `exits`: those that exited meanwhile, in their order.
    pub fn update(
        &mut self,
        alive: &HashMap<u32, (u64, ProcessDelays)>,
        exits: &[Exit],
        mut credit: impl FnMut(u64, ProcessDelays),
    ) {
        let ended = self.exits(alive, exits, &mut credit);
        // What exited after it was asked about is not there any more.
        let there = |pid: &u32| alive.contains_key(pid) && !ended.contains_key(pid);
        for (pid, (workload, waited)) in alive.iter().filter(|(pid, _)| there(pid)) {
            let last =
                self.known.insert(*pid, KnownProcess { workload: *workload, waited: *waited, gone: false });
            match last {
                Some(last) => credit(*workload, since(*waited, last.waited)),
                None if self.begun => credit(*workload, *waited),
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

    /// The processes that ended, with the number of their container.
    fn exits(
        &mut self,
        alive: &HashMap<u32, (u64, ProcessDelays)>,
        exits: &[Exit],
        credit: &mut impl FnMut(u64, ProcessDelays),
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
                credit(known.workload, since(exit.waited, known.waited));
                self.known.remove(&exit.pid);
                ended.insert(exit.pid, known.workload);
                continue;
            }
            let workload = |pid: &u32| {
                let known = self.known.get(pid).map(|known| known.workload);
                known
                    .or_else(|| ended.get(pid).copied())
                    .or_else(|| alive.get(pid).map(|(workload, _)| *workload))
            };
            let ancestors = std::iter::successors(Some(exit.parent), |pid| parents.get(pid).copied());
            if self.begun
                && let Some(workload) = ancestors.take(STEPS).find_map(|pid| workload(&pid))
            {
                credit(workload, exit.waited);
                ended.insert(exit.pid, workload);
            }
        }
        ended
    }
}
