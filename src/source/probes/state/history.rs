//! The last results of a target (pure).

use crate::source::probes::fault::Fault;
use crate::source::probes::result::ProbeResult;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// A result.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    /// Start of the probe, by the wall clock.
    pub began: SystemTime,
    /// Duration of the probe.
    pub took: Duration,
    /// Address that was probed.
    pub peer: Option<IpAddr>,
    /// Reason of the failure; `None` if the probe succeeded.
    pub fault: Option<Fault>,
}

impl HistoryEntry {
    /// One line: age, duration and fault.
    pub fn describe(&self, now: SystemTime) -> String {
        let ago = Duration::from_secs(now.duration_since(self.began).unwrap_or_default().as_secs());
        let ago = humantime::format_duration(ago);
        let took = humantime::format_duration(Duration::from_micros(
            u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
        ));
        let peer = self.peer.map(|peer| format!(" at {peer}")).unwrap_or_default();
        match &self.fault {
            None => format!("{ago} ago: success{peer}, {took}"),
            Some(fault) if fault.local => {
                format!(
                    "{ago} ago: not probed, the agent lacks a permission or resource{peer}, {took}: {}",
                    fault.message
                )
            }
            Some(fault) => format!("{ago} ago: {}{peer}, {took}: {}", fault.error.word(), fault.message),
        }
    }
}

/// Appends a result, and keeps the last `most`.
pub fn remember(history: &mut VecDeque<HistoryEntry>, result: ProbeResult, most: usize) {
    if most == 0 {
        return;
    }
    if history.capacity() == 0 {
        history.reserve_exact(most);
    }
    while history.len() >= most {
        history.pop_front();
    }
    let ProbeResult { began, took, peer, fault, .. } = result;
    history.push_back(HistoryEntry { began, took, peer, fault });
}
