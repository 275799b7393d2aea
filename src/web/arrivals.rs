//! Connections that were accepted and have not sent a request yet. They do not count towards the limit of connections,
//! and health requests never do. So if every slot is taken by idle clients or by slow responses, further connections
//! wait here, and the endpoint continues to accept.

use crate::web::stream::{Client, Stream};
use crate::web::timeouts;
use std::collections::hash_map::Entry::Occupied;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncReadExt;
use tokio::task::AbortHandle;

/// Maximum number of waiting connections.
pub const MAX_WAITING: usize = 512;

/// Number of bytes that distinguish a health request from others.
pub const PREFIX: usize = 8;

/// Whether a request that begins with these bytes is a health request (`/-/`).
pub fn asks_for_health(first: &[u8]) -> bool {
    first.starts_with(b"GET /-/") || first.starts_with(b"HEAD /-/")
}

/// The waiting connections.
#[derive(Debug, Default)]
pub struct Arrivals {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    entries: BTreeMap<u64, Entry>,
    /// Number of connections of each client.
    clients: HashMap<Client, usize>,
}

#[derive(Debug)]
struct Entry {
    from: Client,
    silent: bool,
    task: Option<AbortHandle>,
}

/// A connection in the table, which is removed when this is dropped.
#[derive(Debug)]
pub struct Arrival {
    id: u64,
    arrivals: Arc<Arrivals>,
}

impl Arrivals {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection of this client. If the table is full, a connection of the client with the most connections is
    /// closed.
    pub fn add(self: &Arc<Self>, stream: &Stream, from: Client) -> Arrival {
        // The request may have arrived already; the runtime notices only after it has accepted some hundred more
        // connections.
        let spoke = stream.socket().peek(&mut [MaybeUninit::uninit()]);
        let silent = !spoke.is_ok_and(|length| length > 0);
        let mut table = self.lock();
        while table.entries.len() >= MAX_WAITING {
            table.close_one();
        }
        let id = table.next;
        table.next += 1;
        *table.clients.entry(from).or_default() += 1;
        table.entries.insert(id, Entry { from, silent, task: None });
        Arrival { id, arrivals: Arc::clone(self) }
    }

    /// Sets the task that waits for a connection.
    pub fn served_by(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.lock().entries.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    /// Closes one waiting connection, if there is any.
    pub fn close_one(&self) {
        self.lock().close_one();
    }
}

impl Table {
    /// Closes a connection of the client with the most connections: the one that has been silent longest, or else the
    /// latest, so that earlier ones are served.
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
    /// Id of the connection in the table.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the first bytes of the request.
    pub async fn prefix(&self, stream: &mut Stream) -> io::Result<[u8; PREFIX]> {
        let mut first = [0; PREFIX];
        tokio::time::timeout(timeouts::HTTP_HEADER, stream.read_exact(&mut first)).await??;
        if let Some(entry) = self.arrivals.lock().entries.get_mut(&self.id) {
            entry.silent = false;
        }
        Ok(first)
    }

    /// Removes the connection from the table. Returns the task that waited.
    pub fn leave(self) -> Option<AbortHandle> {
        self.arrivals.lock().remove(self.id)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.arrivals.lock().remove(self.id);
    }
}
