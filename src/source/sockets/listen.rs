//! Who listens (pure).

use super::diag::{Family, Record};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

/// The addresses that are listened on in one network namespace.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Ports on every address of a family.
    any: HashSet<(Family, u16)>,
    at: HashSet<SocketAddr>,
    /// Who listened at the look before: what ends with its listener is told of later than that is gone.
    before: Option<Box<Self>>,
}

impl Listeners {
    /// Takes a socket that listens.
    pub fn add(&mut self, record: &Record<'_>) {
        let port = record.local.port();
        match record.local.ip() {
            IpAddr::V4(address) if address.is_unspecified() => {
                self.any.insert((Family::V4, port));
            }
            IpAddr::V6(address) if address.is_unspecified() => {
                self.any.insert((Family::V6, port));
                // Kernels before 2.6.36 do not say; the default of the kernel is to take both.
                if record.v6_only != Some(true) {
                    self.any.insert((Family::V4, port));
                }
            }
            _ => {
                self.at.insert(record.local);
            }
        }
    }

    /// These now, and these others at the look before.
    #[must_use]
    pub fn after(self, before: Self) -> Self {
        Self { before: Some(Box::new(Self { before: None, ..before })), ..self }
    }

    /// Whether somebody listens there, or did at the look before.
    pub fn has(&self, family: Family, local: SocketAddr) -> bool {
        self.any.contains(&(family, local.port()))
            || self.at.contains(&local)
            || self.before.as_ref().is_some_and(|before| before.has(family, local))
    }

    /// The ports that are listened on, or were at the look before.
    pub fn ports(&self) -> HashSet<u16> {
        let now = self.any.iter().map(|(_, port)| *port).chain(self.at.iter().map(SocketAddr::port));
        now.chain(self.before.iter().flat_map(|before| before.ports())).collect()
    }

    /// How many addresses are listened on now.
    pub fn len(&self) -> usize {
        self.any.len() + self.at.len()
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
