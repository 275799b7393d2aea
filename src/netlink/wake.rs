//! Waiting for events on the netlink sockets of several network namespaces, by a thread of a source.

use crate::stop::Stop;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Wakes the thread that waits, because sockets were added or removed.
#[derive(Debug)]
pub struct Waker(OwnedFd);

/// Reason why the thread woke up. `K` is the key of a socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Wakeup<K> {
    /// The agent stops.
    Stop,
    /// Sockets were added or removed.
    Changed,
    /// Sockets with events; none if the time is over.
    Events(Vec<K>),
}

impl Waker {
    /// Creates it.
    ///
    /// # Errors
    ///
    /// There is no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes the thread.
    pub fn wake(&self) {
        // A full eventfd is readable, which is enough.
        let _readable_either_way = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Waits for events, a change of the sockets or the stop of the agent, for at most this time.
    ///
    /// # Errors
    ///
    /// The kernel refuses `poll(2)`.
    pub fn wait<K: Copy>(
        &self,
        sockets: &[(K, OwnedFd)],
        stop: &Stop,
        most: Duration,
    ) -> io::Result<Wakeup<K>> {
        let killed = stop.killed();
        let mut watched = vec![PollFd::new(&killed, PollFlags::IN), PollFd::new(&self.0, PollFlags::IN)];
        watched.extend(sockets.iter().map(|(_, socket)| PollFd::new(socket, PollFlags::IN)));
        let most = Timespec::try_from(most).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut watched, Some(&most)) {
            Err(rustix::io::Errno::INTR) => {}
            other => {
                other?;
            }
        }
        let mut ready = watched.iter().map(|fd| !fd.revents().is_empty());
        if ready.next() == Some(true) {
            return Ok(Wakeup::Stop);
        }
        if ready.next() == Some(true) {
            let mut number = [0; 8];
            let _nobody_reads_it_besides = rustix::io::read(&self.0, &mut number);
            return Ok(Wakeup::Changed);
        }
        let ready = sockets.iter().zip(ready).filter(|(_, ready)| *ready).map(|((key, _), _)| *key);
        Ok(Wakeup::Events(ready.collect()))
    }
}

/// Duplicates of sockets, so that sockets can be added and removed while the thread waits; and why the last one that is
/// missing could not be duplicated.
pub fn duplicates<K>(
    sockets: impl Iterator<Item = (K, io::Result<OwnedFd>)>,
) -> (Vec<(K, OwnedFd)>, Option<String>) {
    let (mut made, mut failure) = (Vec::new(), None);
    for (key, socket) in sockets {
        match socket {
            Ok(socket) => made.push((key, socket)),
            Err(error) => failure = Some(error.to_string()),
        }
    }
    (made, failure)
}
