//! One target with what is known of it.
//!
//! It has a lock of its own, held for as long as its numbers are copied, so that a scrape of ten thousand targets delays no
//! probe.

use super::result::ProbeResult;
use super::state::TargetState;
use super::target::Target;
use crate::source::probes::config::Probes;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One target with what is known of it.
#[derive(Debug)]
pub struct TargetEntry {
    /// Unlike that of every other entry, those that are gone included.
    pub number: u64,
    /// The target.
    pub target: Target,
    /// Whether its last probe panicked, and so gave no result.
    pub panicked: AtomicBool,
    states: Mutex<Vec<TargetState>>,
}

impl TargetEntry {
    /// Creates an entry with a unique number and a known state.
    pub fn new(number: u64, target: Target, states: Vec<TargetState>) -> Self {
        Self { number, target, panicked: AtomicBool::new(false), states: Mutex::new(states) }
    }

    /// The state of the target, or with `all` one for each address.
    pub fn states(&self) -> MutexGuard<'_, Vec<TargetState>> {
        // Whole after every statement.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is up by these states: half up is not up. `None` where nothing is known of one of them.
    pub fn up(states: &[TargetState]) -> Option<bool> {
        states.iter().map(|state| state.up).reduce(|left, right| Some(left? && right?)).flatten()
    }

    /// Records the result of a probe of one address, or of the name.
    pub fn take(&self, address: Option<IpAddr>, result: ProbeResult, settings: &Probes) {
        let mut states = self.states();
        let index = states.iter().position(|state| state.address == address).unwrap_or_else(|| {
            // As a rule there is no second one, and a vector that grows by itself makes room for four.
            states.reserve_exact(1);
            states.push(TargetState::new(address));
            states.len() - 1
        });
        if let Some(state) = states.get_mut(index) {
            state.take(&self.target, result, settings);
        }
    }

    /// Forgets the addresses that the name does not have any more.
    pub fn keep(&self, addresses: &[IpAddr]) {
        self.states().retain(|state| state.address.is_some_and(|address| addresses.contains(&address)));
    }

    /// The addresses that were probed so far.
    pub fn addresses(&self) -> Vec<Option<IpAddr>> {
        self.states().iter().map(|state| state.address).collect()
    }
}
