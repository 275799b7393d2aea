//! Stopping: the token that everything which waits checks.
//!
//! A stop has two steps. [`Stop::drain`] leaves time for one last cycle and its export; [`Stop::kill`] ends what is
//! still running, child processes included.

#![expect(clippy::disallowed_methods, reason = "every budget of stopping counts from the moment it began")]

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The token; clones are the same token.
#[derive(Debug, Clone)]
pub struct Stop {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    draining_since: watch::Sender<Option<Instant>>,
    killed: OwnedFd,
    /// Parts of the agent that may end before it does.
    children: Mutex<Vec<Weak<Inner>>>,
}

/// The token of a part of the agent, which stops with the agent, and when this is dropped.
#[derive(Debug)]
pub struct ChildStop(Stop);

impl ChildStop {
    /// The token.
    pub fn token(&self) -> &Stop {
        &self.0
    }
}

impl Drop for ChildStop {
    fn drop(&mut self) {
        self.0.drain();
        self.0.kill();
    }
}

impl Stop {
    /// A token that is not stopping.
    pub fn new() -> std::io::Result<Self> {
        let killed = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            inner: Arc::new(Inner {
                draining_since: watch::Sender::new(None),
                killed,
                children: Mutex::default(),
            }),
        })
    }

    /// The token of a part that may end before the agent does.
    pub fn child(&self) -> std::io::Result<ChildStop> {
        let child = Self::new()?;
        let mut children = self.inner.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain(|child| child.strong_count() > 0);
        children.push(Arc::downgrade(&child.inner));
        drop(children);
        // Whoever stops from now on finds it in the list.
        if self.draining() {
            child.drain();
        }
        if self.killed_within(Duration::ZERO) {
            child.kill();
        }
        Ok(ChildStop(child))
    }

    fn children(&self) -> Vec<Self> {
        let children = self.inner.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.iter().filter_map(Weak::upgrade).map(|inner| Self { inner }).collect()
    }

    /// Begins stopping; from now on, everything that waits has only its budget left.
    pub fn drain(&self) {
        self.inner.draining_since.send_if_modified(|since| match since {
            None => {
                *since = Some(Instant::now());
                true
            }
            Some(_) => false,
        });
        for child in self.children() {
            child.drain();
        }
    }

    /// Whether stopping has begun.
    pub fn draining(&self) -> bool {
        self.inner.draining_since.borrow().is_some()
    }

    /// `deadline`, or `budget` after the beginning of the stop if that comes first.
    pub fn cap(&self, deadline: Instant, budget: Duration) -> Instant {
        self.inner.draining_since.borrow().map_or(deadline, |since| deadline.min(since + budget))
    }

    /// Ends `budget` after the beginning of the stop, and never if there is none.
    pub async fn exhausted(&self, budget: Duration) {
        let mut watcher = self.inner.draining_since.subscribe();
        // The sender lives in this token, so the wait cannot fail.
        if let Ok(since) = watcher.wait_for(Option::is_some).await.map(|since| *since)
            && let Some(since) = since
        {
            tokio::time::sleep_until((since + budget).into()).await;
        }
    }

    /// Ends what is still running.
    pub fn kill(&self) {
        // An eventfd takes eight bytes or, after 2^64 calls, nothing; either way it stays readable.
        let _stays_readable = rustix::io::write(&self.inner.killed, &1u64.to_ne_bytes());
        for child in self.children() {
            child.kill();
        }
    }

    /// Waits for so long, or until [`Stop::kill`] is called; whether it was.
    pub fn killed_within(&self, most: Duration) -> bool {
        let most = Timespec::try_from(most).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        poll(&mut [PollFd::new(&self.killed(), PollFlags::IN)], Some(&most)).is_ok_and(|ready| ready > 0)
    }

    /// Readable once [`Stop::kill`] was called.
    pub fn killed(&self) -> BorrowedFd<'_> {
        self.inner.killed.as_fd()
    }
}
