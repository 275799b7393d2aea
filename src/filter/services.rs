//! Ports by the names of services: the format of /etc/services (services(5)).

use std::collections::BTreeMap;

/// Ports by the names of services. The default knows none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    ports: BTreeMap<String, Option<u16>>,
    any: bool,
}

impl Services {
    /// Takes every name for a port: for a text of which everything else is to be checked.
    pub fn any() -> Self {
        Self { ports: BTreeMap::new(), any: true }
    }

    /// Reads the text of /etc/services, names and aliases; a line that is not understood is skipped, as the C
    /// library does. A name counts for TCP and UDP; if these have different ports it stands for neither.
    pub fn read(text: &str) -> Self {
        let mut ports = BTreeMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(port_and_protocol)) = (words.next(), words.next()) else { continue };
            let Some((port, "tcp" | "udp")) = port_and_protocol.split_once('/') else { continue };
            let Ok(port) = port.parse::<u16>() else { continue };
            for name in std::iter::once(name).chain(words) {
                let known = ports.entry(name.to_owned()).or_insert(Some(port));
                if *known != Some(port) {
                    *known = None;
                }
            }
        }
        Self { ports, any: false }
    }

    /// The port of a service. `Err` says why there is none.
    pub(super) fn port(&self, name: &str) -> Result<u16, &'static str> {
        match self.ports.get(name) {
            Some(Some(port)) => Ok(*port),
            Some(None) => Err("has one port with TCP and another with UDP; write the number"),
            None if self.any => Ok(1),
            None => Err("is not a port from 0 to 65535, and no service of that name is known"),
        }
    }
}
