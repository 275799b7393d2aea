//! Connections that have just come. They take no place before they have said something, and whoever asks for health takes
//! none at all: where every place is taken, by clients that say nothing or by answers that take long to make, the others
//! wait here, and the endpoint goes on accepting.

use crate::web::stream::{Client, Stream};
use crate::web::timeouts;
use std::collections::hash_map::Entry::Occupied;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncReadExt;
use tokio::task::AbortHandle;

/// Connections that wait here at a time.
pub const MOST: usize = 512;

/// Bytes that tell whether a request asks for health.
pub const FIRST: usize = 8;

/// Whether the connection may be accepted.
pub fn asks_for_health(first: &[u8]) -> bool {
    first.starts_with(b"GET /-/") || first.starts_with(b"HEAD /-/")
}

/// The connections that have just come.
#[derive(Debug, Default)]
pub struct Arrivals {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    entries: BTreeMap<u64, Entry>,
    /// How many each client has.
    clients: HashMap<Client, usize>,
}

#[derive(Debug)]
struct Entry {
    from: Client,
    silent: bool,
    task: Option<AbortHandle>,
}

/// A connection in the table; leaves it when it goes out of scope.
#[derive(Debug)]
pub struct Arrival {
    id: u64,
    arrivals: Arc<Arrivals>,
}

impl Arrivals {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection of this client. Where there is no room, one of those of the client that has most goes.
    pub fn add(self: &Arc<Self>, stream: &Stream, from: Client) -> Arrival {
        // Its request may be here already; the runtime learns of that only after it has accepted some hundreds more.
        let spoke = stream.socket().peek(&mut [MaybeUninit::uninit()]);
        let silent = !spoke.is_ok_and(|length| length > 0);
        let mut table = self.lock();
        while table.entries.len() >= MOST {
            table.close_one();
        }
        let id = table.next;
        table.next += 1;
        *table.clients.entry(from).or_default() += 1;
        table.entries.insert(id, Entry { from, silent, task: None });
        Arrival { id, arrivals: Arc::clone(self) }
    }

    /// Says which task waits for a connection.
    pub fn served_by(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.lock().entries.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    /// Closes one, if there is one.
    pub fn close_one(&self) {
        self.lock().close_one();
    }
}

impl Table {
    /// Of the client that has most: the one that has said nothing for longest, or else the one that came last, so that those
    /// who have waited get their turn.
    fn close_one(&mut self) {
        let Some(most) = self.clients.iter().max_by_key(|(_, count)| **count).map(|(from, _)| *from) else {
            return;
        };
        let theirs = || self.entries.iter().filter(|(_, entry)| entry.from == most);
        let silent = theirs().find(|(_, entry)| entry.silent);
        let Some(id) = silent.or_else(|| theirs().next_back()).map(|(id, _)| *id) else { return };
        if let Some(task) = self.remove(id) {
            task.abort();
        }
    }

    fn remove(&mut self, id: u64) -> Option<AbortHandle> {
        let entry = self.entries.remove(&id)?;
        if let Occupied(mut count) = self.clients.entry(entry.from) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        entry.task
    }
}

impl Arrival {
    /// Number of the connection among those that wait.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the first bytes of its request.
    pub async fn first(&self, stream: &mut Stream) -> io::Result<[u8; FIRST]> {
        let mut first = [0; FIRST];
        tokio::time::timeout(timeouts::HTTP_HEADER, stream.read_exact(&mut first)).await??;
        if let Some(entry) = self.arrivals.lock().entries.get_mut(&self.id) {
            entry.silent = false;
        }
        Ok(first)
    }

    /// Ends the wait, and gives the task that waited.
    pub fn leave(self) -> Option<AbortHandle> {
        self.arrivals.lock().remove(self.id)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.arrivals.lock().remove(self.id);
    }
}
