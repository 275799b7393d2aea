//! Reuse of the connection of the last message.

use super::connect::bounded::Budget;
use super::connect::{Connection, ConnectionObservation, Connector, Driver, Peer, Stream};
use super::refusal::Refusal;
use crate::reading::chain;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Connections to one receiver, one of which is reused. `S` sends requests over it.
pub(super) struct ReusedConnection<S> {
    connector: Connector,
    /// A connection that can take another message, unless the receiver has closed it since.
    kept: Mutex<Option<OpenConnection<S>>>,
}

/// A connection after the handshake of the protocol.
pub(super) struct OpenConnection<S> {
    pub(super) sender: S,
    opened: NewConnection,
    _driver: Driver,
}

/// A connection before the handshake of the protocol, without its stream.
pub(super) struct NewConnection {
    budget: Budget,
    address: Option<SocketAddr>,
    observation: ConnectionObservation,
}

impl<S> ReusedConnection<S> {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, kept: Mutex::default() }
    }

    /// Reloads certificates whose files have changed, and then closes the reused connection.
    pub(super) fn refresh(&self) {
        if self.connector.refresh() {
            self.keep(None);
        }
    }

    fn keep(&self, connected: Option<OpenConnection<S>>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = connected;
    }

    /// The reused connection, if it can take another message. Until [`Self::answered`], its address counts as failed,
    /// because the caller may cancel at any time.
    pub(super) fn take(&self, is_closed: impl Fn(&S) -> bool) -> Option<OpenConnection<S>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let connected = kept.filter(|connected| !is_closed(&connected.sender))?;
        connected.opened.budget.renew();
        self.connector.failed_at(connected.opened.address);
        Some(connected)
    }

    /// Establishes a connection, within a time. Until [`Self::answered`], its address counts as failed.
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

    /// Records that a message was answered on this connection, which is reused if it `can` take another.
    pub(super) fn answered(&self, connected: OpenConnection<S>, can: bool) {
        self.connector.answered_at(connected.opened.address);
        self.keep(Some(connected).filter(|_| can));
    }

    /// Records that a message was not answered on this connection; `error` is that of the protocol library.
    pub(super) fn unanswered(&self, connected: &OpenConnection<S>, error: &str) -> Refusal {
        self.broken(&connected.opened, error)
    }

    /// The name whose lookup had not ended when a connection attempt was cancelled.
    pub(super) fn looking_up(&self) -> Option<&str> {
        self.connector.looking_up()
    }

    /// The peer of messages.
    pub(super) fn peer(&self) -> &Peer {
        self.connector.peer()
    }

    fn broken(&self, opened: &NewConnection, error: &str) -> Refusal {
        Refusal::connection(&self.connector.peer().broken(&opened.observation, error))
    }
}
