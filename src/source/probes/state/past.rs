//! What is remembered of a probe that has ended, and how it is told (pure).

use crate::source::probes::attempt::Run;
use crate::source::probes::fault::Fault;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// How much is kept of why a probe failed, in bytes.
const WORDS: usize = 500;

/// One result.
#[derive(Debug, Clone)]
pub struct Past {
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Address that was probed.
    pub peer: Option<IpAddr>,
    /// Why it failed.
    pub fault: Option<Fault>,
}

impl Past {
    /// In words: how long ago, how long, and why it failed.
    pub fn describe(&self, now: SystemTime) -> String {
        let ago = Duration::from_secs(now.duration_since(self.began).unwrap_or_default().as_secs());
        let ago = humantime::format_duration(ago);
        let took = humantime::format_duration(Duration::from_micros(
            u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
        ));
        let peer = self.peer.map(|peer| format!(" at {peer}")).unwrap_or_default();
        match &self.fault {
            None => format!("{ago} ago: success{peer}, {took}"),
            Some(fault) if fault.ours => {
                format!("{ago} ago: not probed, the agent lacks something{peer}, {took}: {}", fault.why)
            }
            Some(fault) => format!("{ago} ago: {}{peer}, {took}: {}", fault.error.word(), fault.why),
        }
    }
}

/// Puts the result of a probe behind those before it, of which the last `most` stay.
pub fn remember(history: &mut VecDeque<Past>, run: Run, most: usize) {
    if most == 0 {
        return;
    }
    if history.capacity() == 0 {
        history.reserve_exact(most);
    }
    while history.len() >= most {
        history.pop_front();
    }
    let Run { began, took, peer, mut fault, .. } = run;
    if let Some(fault) = &mut fault {
        // A peer may have a say in it: where it redirects to, what it said last.
        fault.why.truncate(fault.why.floor_char_boundary(WORDS));
    }
    history.push_back(Past { began, took, peer, fault });
}
