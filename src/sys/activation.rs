//! Sockets that the service manager hands over at the start: `sd_listen_fds(3)`, and the units of `systemd.socket(5)`.
//!
//! They are the descriptors from 3 on, as many as `LISTEN_FDS` says, for the process that `LISTEN_PID` names;
//! `LISTEN_FDNAMES` has a name for each. systemd promises that this is stable.

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::net::{AddressFamily, SocketType, getsockname};
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// More than any unit has.
const MAX_DESCRIPTORS: RawFd = 64;

/// A socket that was handed over.
#[derive(Debug)]
pub struct HandedOver {
    /// Its name: `FileDescriptorName=`, or that of the unit; `unknown` where there is none.
    pub name: String,
    /// It listens, and does not block.
    pub socket: ListeningSocket,
}

/// A socket that listens, of either kind that the endpoint can have.
#[derive(Debug)]
pub enum ListeningSocket {
    /// Over TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// The sockets of this process, by its variables. To be asked once, before anything else is opened; afterwards there are none. The
/// error says what is wrong with which.
pub fn take(variable: impl Fn(&str) -> Option<String>) -> Result<Vec<HandedOver>, String> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let own = std::process::id().to_string();
    if variable("LISTEN_PID").is_none_or(|process| process != own) || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let count = variable("LISTEN_FDS").unwrap_or_default();
    let count: RawFd =
        count.parse().ok().filter(|count| (0..=MAX_DESCRIPTORS).contains(count)).ok_or_else(|| {
            format!("LISTEN_FDS={count} is not a number of sockets up to {MAX_DESCRIPTORS}")
        })?;
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').filter(|name| !name.is_empty());
    let mut sockets = Vec::new();
    for descriptor in FIRST..FIRST + count {
        let name = names.next().unwrap_or("unknown").to_owned();
        let socket = open(descriptor).and_then(listening).map_err(|why| {
            format!("the socket `{name}` (descriptor {descriptor}) of the service manager {why}")
        })?;
        sockets.push(HandedOver { name, socket });
    }
    Ok(sockets)
}

#[expect(unsafe_code, reason = "descriptors that come with the process have numbers only")]
fn open(descriptor: RawFd) -> Result<OwnedFd, String> {
    if !std::fs::exists(format!("/proc/self/fd/{descriptor}")).unwrap_or(true) {
        return Err("is not open".to_owned());
    }
    // SAFETY: the service manager says that this descriptor is for this process; nothing in the process has opened one of its own
    // yet, so nobody else owns it, and `take` comes here once.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // Children get none of them.
    fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(|error| error.to_string())?;
    Ok(socket)
}

fn listening(socket: OwnedFd) -> Result<ListeningSocket, String> {
    let kind = socket_type(&socket).map_err(|_| "is no socket".to_owned())?;
    if kind != SocketType::STREAM {
        return Err("is not of ListenStream=".to_owned());
    }
    if !socket_acceptconn(&socket).unwrap_or(false) {
        return Err("is a connection: set Accept=no in its unit".to_owned());
    }
    rustix::io::ioctl_fionbio(&socket, true).map_err(|error| error.to_string())?;
    match getsockname(&socket).map(|address| address.address_family()) {
        Ok(AddressFamily::UNIX) => Ok(ListeningSocket::Unix(socket.into())),
        Ok(AddressFamily::INET | AddressFamily::INET6) => Ok(ListeningSocket::Tcp(socket.into())),
        _ => Err("is of another family than IPv4, IPv6 and Unix".to_owned()),
    }
}
