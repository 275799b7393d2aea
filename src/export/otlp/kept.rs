//! The connection of the last message, kept for the next.

use super::connect::bounded::Budget;
use super::connect::{Connection, ConnectionObservation, Connector, Driver, Peer, Stream};
use super::refusal::Refusal;
use crate::reading::chain;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Connections to one receiver, of which one is kept. `S` is what sends over it.
pub(super) struct ReusedConnection<S> {
    connector: Connector,
    /// What is returned to this place can take another message, unless the receiver has closed it since.
    kept: Mutex<Option<OpenConnection<S>>>,
}

/// A connection on which the protocol is spoken.
pub(super) struct OpenConnection<S> {
    pub(super) sender: S,
    opened: NewConnection,
    _driver: Driver,
}

/// A connection on which nothing has been spoken yet, beside its stream.
pub(super) struct NewConnection {
    budget: Budget,
    address: Option<SocketAddr>,
    observation: ConnectionObservation,
}

impl<S> ReusedConnection<S> {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, kept: Mutex::default() }
    }

    /// Reads certificates again whose files have changed, and then gives up the connection that is kept.
    pub(super) fn refresh(&self) {
        if self.connector.refresh() {
            self.keep(None);
        }
    }

    fn keep(&self, connected: Option<OpenConnection<S>>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = connected;
    }

    /// The connection that is kept, if it can take another message. Until [`Self::answered`], its address counts as one that
    /// fails: the caller may give up at any time.
    pub(super) fn take(&self, is_closed: impl Fn(&S) -> bool) -> Option<OpenConnection<S>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let connected = kept.filter(|connected| !is_closed(&connected.sender))?;
        connected.opened.budget.renew();
        self.connector.failed_at(connected.opened.address);
        Some(connected)
    }

    /// A new connection, within a time; its address counts as that of one that is taken.
    pub(super) async fn open(
        &self,
        within: Duration,
    ) -> Result<(TokioIo<Box<dyn Stream>>, NewConnection), Refusal> {
        let connection = self.connector.connect(within).await;
        let Connection { stream, budget, address, observation } =
            connection.map_err(|error| Refusal::connection(&chain(&error)))?;
        self.connector.failed_at(address);
        Ok((TokioIo::new(stream), NewConnection { budget, address, observation }))
    }

    /// Result of the protocol's handshake on a new connection.
    pub(super) fn connected(
        &self,
        opened: NewConnection,
        shaken: hyper::Result<(S, Driver)>,
    ) -> Result<OpenConnection<S>, Refusal> {
        match shaken {
            Ok((sender, driver)) => Ok(OpenConnection { sender, opened, _driver: driver }),
            Err(error) => Err(self.broken(&opened, &chain(&error))),
        }
    }

    /// A message was answered on this connection; it is kept if it `can` take another.
    pub(super) fn answered(&self, connected: OpenConnection<S>, can: bool) {
        self.connector.answered_at(connected.opened.address);
        self.keep(Some(connected).filter(|_| can));
    }

    /// A message was not answered on this connection; `error` is what the library for the protocol says.
    pub(super) fn unanswered(&self, connected: &OpenConnection<S>, error: &str) -> Refusal {
        self.broken(&connected.opened, error)
    }

    /// The name that a connection was given up for while it was looked up.
    pub(super) fn looking_up(&self) -> Option<&str> {
        self.connector.looking_up()
    }

    /// Whom messages are spoken to.
    pub(super) fn peer(&self) -> &Peer {
        self.connector.peer()
    }

    fn broken(&self, opened: &NewConnection, error: &str) -> Refusal {
        Refusal::connection(&self.connector.peer().broken(&opened.observation, error))
    }
}
