//! Open connections: their number, the one that is closed at the limit, and connections without progress.

#![expect(clippy::disallowed_methods, reason = "a connection is closed after a time without progress")]

use crate::web::arrivals::PREFIX;
use crate::web::stream::Stream;
use crate::web::timeouts;
use hyper::body::Bytes;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Sleep;

/// Maximum number of connections. A Prometheus server keeps one.
pub const MAX_CONNECTIONS: usize = 128;

/// All connections of the HTTP endpoint, up to a limit.
#[derive(Debug, Default)]
pub struct Connections {
    table: Mutex<Table>,
    /// Notified when a connection has ended or has no request in progress any more.
    freed: Notify,
    /// Held by the next connection to be added.
    admission: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Time when bytes were last received or sent.
    progress: Instant,
    /// Whether a request was received whose response is not ready yet.
    answering: bool,
    /// Id of the text of the last response.
    answer: Option<u64>,
    task: Option<AbortHandle>,
}

/// A connection in the table, which is removed when this is dropped.
#[derive(Debug)]
pub struct ConnectionTicket {
    id: u64,
    connections: Arc<Connections>,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, in the order of the calls. At the limit, the connection that has been idle longest is closed.
    /// Connections whose responses are being rendered are spared for a while; then the one that has waited longest is
    /// closed.
    pub async fn add(self: &Arc<Self>) -> ConnectionTicket {
        let _admission = self.admission.lock().await;
        let until = tokio::time::Instant::now() + timeouts::ANSWERS_MADE;
        loop {
            let freed = self.freed.notified();
            if let Some(ticket) = self.add_if_room() {
                return ticket;
            }
            if tokio::time::timeout_at(until, freed).await.is_err() {
                let mut table = self.lock();
                table.evict(true);
                return self.insert(&mut table);
            }
        }
    }

    /// Adds a connection if the limit allows it now.
    pub fn add_if_room(self: &Arc<Self>) -> Option<ConnectionTicket> {
        let mut table = self.lock();
        table.evict(false).then(|| self.insert(&mut table))
    }

    /// A ticket of a connection that is not counted.
    pub fn uncounted(self: &Arc<Self>) -> ConnectionTicket {
        ConnectionTicket { id: u64::MAX, connections: Arc::clone(self) }
    }

    /// Closes the connection that has been idle longest, if there is any.
    pub fn close_idle(&self) {
        self.lock().close_longest(false);
    }

    fn insert(self: &Arc<Self>, table: &mut Table) -> ConnectionTicket {
        let id = table.next;
        table.next += 1;
        let entry = Entry { progress: Instant::now(), answering: false, answer: None, task: None };
        table.entries.insert(id, entry);
        ConnectionTicket { id, connections: Arc::clone(self) }
    }

    /// Sets the task that serves a connection.
    pub fn served_by(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.lock().entries.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    /// Closes every connection whose last response was this text.
    pub fn close_with(&self, answer: u64) {
        let mut table = self.lock();
        let given: Vec<u64> = table
            .entries
            .iter()
            .filter(|(_, entry)| entry.answer == Some(answer))
            .map(|(id, _)| *id)
            .collect();
        for id in given {
            table.close(id);
        }
    }
}

impl Table {
    /// Whether another connection fits, after an idle one was closed.
    fn evict(&mut self, answering: bool) -> bool {
        self.entries.len() < MAX_CONNECTIONS || self.close_longest(answering)
    }

    fn close_longest(&mut self, answering: bool) -> bool {
        let candidates = self.entries.iter().filter(|(_, entry)| answering || !entry.answering);
        let longest = candidates.min_by_key(|(_, entry)| entry.progress).map(|(id, _)| *id);
        longest.is_some_and(|id| {
            self.close(id);
            true
        })
    }

    fn close(&mut self, id: u64) {
        if let Some(Entry { task: Some(task), .. }) = self.entries.remove(&id) {
            task.abort();
        }
    }
}

impl ConnectionTicket {
    /// Id of the connection, unique in the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.connections.lock().entries.get_mut(&self.id) {
            change(entry);
        }
    }

    /// Marks a request as in progress until the result is dropped.
    pub fn answering(self: &Arc<Self>) -> AnsweringGuard {
        // The next request is read after the last response was sent.
        self.change(|entry| (entry.answering, entry.answer) = (true, None));
        AnsweringGuard(Arc::clone(self))
    }

    /// Sets the text of the response.
    pub fn set_text(&self, answer: u64) {
        self.change(|entry| entry.answer = Some(answer));
    }

    fn progress(&self) {
        self.change(|entry| entry.progress = Instant::now());
    }
}

impl Drop for ConnectionTicket {
    fn drop(&mut self) {
        self.connections.lock().entries.remove(&self.id);
        self.connections.freed.notify_waiters();
    }
}

/// Marks a request as in progress; see [`ConnectionTicket::answering`].
pub struct AnsweringGuard(Arc<ConnectionTicket>);

impl Drop for AnsweringGuard {
    fn drop(&mut self) {
        self.0.change(|entry| entry.answering = false);
        self.0.connections.freed.notify_waiters();
    }
}

/// A stream that fails when the peer reads nothing of a response for [`timeouts::STALLED`].
pub struct StallGuardedStream {
    stream: Stream,
    /// Bytes of the stream that were read earlier.
    first: Bytes,
    ticket: Arc<ConnectionTicket>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl StallGuardedStream {
    /// Wraps a stream, and updates the progress of its ticket.
    pub fn new(stream: Stream, first: [u8; PREFIX], ticket: Arc<ConnectionTicket>) -> Self {
        stream.limit_unsent();
        Self { stream, first: first.to_vec().into(), ticket, stalled: None }
    }

    /// The ticket of the connection.
    pub fn ticket(&self) -> Arc<ConnectionTicket> {
        Arc::clone(&self.ticket)
    }

    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.stalled = None;
            self.ticket.progress();
            return wrote;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeouts::STALLED)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for StallGuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let length = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.ticket.progress();
        }
        read
    }
}

impl AsyncWrite for StallGuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(context, wrote)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(context, wrote)
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
