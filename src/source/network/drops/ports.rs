//! Which ports are told apart: those that are not ephemeral, and those that TCP listens on (pure).

use crate::host::ephemeral::EphemeralPorts;

/// Words of 64 bits.
const WORDS: usize = 65_536 / 64;

/// A bit for each port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(Vec<u64>);

impl Default for Ports {
    /// None.
    fn default() -> Self {
        Self(vec![0; WORDS])
    }
}

impl Ports {
    /// Those outside of the range, and these.
    pub fn new(ephemeral: EphemeralPorts, listened: impl IntoIterator<Item = u16>) -> Self {
        let mut ports = Self::default();
        let others = (1..=u16::MAX).filter(|port| !ephemeral.contains(*port));
        for port in others.chain(listened) {
            if let Some(word) = ports.0.get_mut(usize::from(port / 64)) {
                *word |= 1 << (port % 64);
            }
        }
        ports
    }

    /// Whether a port is among them.
    pub fn contains(&self, port: u16) -> bool {
        self.0.get(usize::from(port / 64)).is_some_and(|word| word >> (port % 64) & 1 == 1)
    }

    /// The words that differ from another's, with their places.
    pub fn changed<'a>(&'a self, from: &'a Self) -> impl Iterator<Item = (u32, u64)> + 'a {
        let pairs = (0..).zip(self.0.iter().zip(&from.0));
        pairs.filter(|(_, (now, before))| now != before).map(|(place, (now, _))| (place, *now))
    }
}
