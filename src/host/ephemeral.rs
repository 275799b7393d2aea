//! The local ports that the kernel gives to sockets that connect: `net.ipv4.ip_local_port_range`, for both families.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// How long the range is used before it is read again.
const AGAIN: Duration = Duration::from_mins(1);

/// Two numbers of five digits.
const TEXT: usize = 32;

/// A range of ports, both ends included (`inet_get_local_port_range` in `net/ipv4/inet_connection_sock.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EphemeralPorts {
    low: u16,
    high: u16,
}

impl Default for EphemeralPorts {
    /// The kernel's default of `net.ipv4.ip_local_port_range`.
    fn default() -> Self {
        Self { low: 32_768, high: 60_999 }
    }
}

impl EphemeralPorts {
    /// Reads the text of the sysctl: two numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        let (low, high) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self { low, high })
    }

    /// Both ends, and what is between them.
    pub fn range(self) -> std::ops::RangeInclusive<u16> {
        self.low..=self.high
    }

    /// Whether the kernel may give this port to a socket that connects without one.
    pub fn contains(self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
    }
}

/// The sysctl of one network namespace. It is kept open: it stays that of the namespace it was opened in.
#[derive(Debug)]
pub struct EphemeralPortsFile {
    file: Option<File>,
    latest: Option<(Instant, EphemeralPorts)>,
}

impl EphemeralPortsFile {
    /// That of the calling thread's network namespace.
    pub fn open() -> Self {
        Self { file: File::open("/proc/sys/net/ipv4/ip_local_port_range").ok(), latest: None }
    }

    /// The range, read once a minute; the kernel's default where it cannot be read.
    pub fn read(&mut self, now: Instant) -> EphemeralPorts {
        if let Some((read, ports)) = self.latest
            && now.saturating_duration_since(read) < AGAIN
        {
            return ports;
        }
        let mut text = [0; TEXT];
        let read = self.file.as_ref().and_then(|file| file.read_at(&mut text, 0).ok());
        let text = read.and_then(|length| text.get(..length)).and_then(|text| std::str::from_utf8(text).ok());
        let ports = text.and_then(EphemeralPorts::parse).unwrap_or_default();
        self.latest = Some((now, ports));
        ports
    }
}
