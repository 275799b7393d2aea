//! Telling the service manager how the service is doing: `sd_notify(3)`, over the datagram socket that `NOTIFY_SOCKET` names.
//!
//! The protocol is lines of `KEY=value` in one datagram, and stable by systemd's promise; the crate `sd-notify` would be as long.

use std::ffi::OsStr;
use std::io::{self, Error, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

/// Where the service manager listens.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Notifier {
    /// By the value of `NOTIFY_SOCKET`: the whole path of a socket, or `@` and an abstract name. Nothing is sent yet.
    pub fn to(address: &OsStr) -> io::Result<Self> {
        let to = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(Path::new(address))?,
            _ => {
                let why = "it is neither a whole path nor an abstract name (@NAME)";
                return Err(Error::new(ErrorKind::InvalidInput, why));
            }
        };
        let socket = UnixDatagram::unbound()?;
        // A service manager that takes nothing is not waited for.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to })
    }

    /// Sends lines of `KEY=value`.
    pub fn send(&self, lines: &str) -> io::Result<()> {
        self.socket.send_to_addr(lines.as_bytes(), &self.to).map(drop)
    }
}

/// How long the service manager waits for a sign of life, by the values of `WATCHDOG_USEC` and `WATCHDOG_PID`
/// (`sd_watchdog_enabled(3)`); `None` where it does not, or waits for another process.
pub fn watchdog(microseconds: Option<&str>, process: Option<&str>) -> Option<Duration> {
    let own = std::process::id().to_string();
    let microseconds = microseconds.filter(|_| process.is_none_or(|process| process == own))?;
    microseconds.parse().ok().filter(|microseconds| *microseconds > 0).map(Duration::from_micros)
}
