//! A target and its state.
//!
//! Each entry has its own lock, held while its values are copied, so that a scrape of ten thousand targets delays no
//! probe.

use super::result::ProbeResult;
use super::state::TargetState;
use super::target::Target;
use crate::source::probes::config::Probes;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A target and its state.
#[derive(Debug)]
pub struct TargetEntry {
    /// Unique number of the entry, never reused.
    pub number: u64,
    /// The target.
    pub target: Target,
    /// Whether the last probe panicked, and has no result.
    pub panicked: AtomicBool,
    states: Mutex<Vec<TargetState>>,
}

impl TargetEntry {
    /// Creates an entry with a unique number and an initial state.
    pub fn new(number: u64, target: Target, states: Vec<TargetState>) -> Self {
        Self { number, target, panicked: AtomicBool::new(false), states: Mutex::new(states) }
    }

    /// The state of the target, or with `all` of each address; locks it.
    pub fn states(&self) -> MutexGuard<'_, Vec<TargetState>> {
        // The states are consistent after every statement, so poisoning is ignored.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the target is up by these states: all of them must be. `None` if one is unknown.
    pub fn up(states: &[TargetState]) -> Option<bool> {
        states.iter().map(|state| state.up).reduce(|left, right| Some(left? && right?)).flatten()
    }

    /// Records the result of a probe of one address, or of the name.
    pub fn take(&self, address: Option<IpAddr>, result: ProbeResult, settings: &Probes) {
        let mut states = self.states();
        let index = states.iter().position(|state| state.address == address).unwrap_or_else(|| {
            // There is usually one state; `push` alone would allocate four.
            states.reserve_exact(1);
            states.push(TargetState::new(address));
            states.len() - 1
        });
        if let Some(state) = states.get_mut(index) {
            state.take(&self.target, result, settings);
        }
    }

    /// Removes the states of addresses that the name does not have any more.
    pub fn keep(&self, addresses: &[IpAddr]) {
        self.states().retain(|state| state.address.is_some_and(|address| addresses.contains(&address)));
    }

    /// The addresses probed so far.
    pub fn addresses(&self) -> Vec<Option<IpAddr>> {
        self.states().iter().map(|state| state.address).collect()
    }
}
