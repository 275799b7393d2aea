//! Ephemeral ports: `net.ipv4.ip_local_port_range`, for both families.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Interval at which the range is read.
const AGAIN: Duration = Duration::from_mins(1);

/// Size of the read buffer, bytes; enough for two numbers of five digits.
const TEXT: usize = 32;

/// A range of ports, inclusive (`inet_get_local_port_range` in `net/ipv4/inet_connection_sock.c`).
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
    /// Parses the text of the sysctl: two numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        let (low, high) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self { low, high })
    }

    /// The inclusive range.
    pub fn range(self) -> std::ops::RangeInclusive<u16> {
        self.low..=self.high
    }

    /// Whether a port is in the range.
    pub fn contains(self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
    }
}

/// The sysctl of one network namespace. The file stays open: it belongs to the namespace in which it was opened.
#[derive(Debug)]
pub struct EphemeralPortsFile {
    file: Option<File>,
    latest: Option<(Instant, EphemeralPorts)>,
}

impl EphemeralPortsFile {
    /// Opens the file of the calling thread's network namespace.
    pub fn open() -> Self {
        Self { file: File::open("/proc/sys/net/ipv4/ip_local_port_range").ok(), latest: None }
    }

    /// The range, read once a minute; the kernel's default if it cannot be read.
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
