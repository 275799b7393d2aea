//! The addresses of the receiver's name, by the C library, on a thread of its own.
//!
//! `getaddrinfo` cannot be stopped: while a name server is silent it takes tens of seconds. One thread at most waits for
//! it, and none of those that scrapes and other blocking work run on.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

type LookupResult = Result<Vec<SocketAddr>, (ErrorKind, String)>;

/// Looks one name up.
pub(super) struct Lookup {
    host: String,
    port: u16,
    under_way: Mutex<Option<watch::Receiver<Option<Arc<LookupResult>>>>>,
}

impl Lookup {
    pub(super) fn new(host: String, port: u16) -> Self {
        Self { host, port, under_way: Mutex::default() }
    }

    /// The addresses now. A lookup that timed out in an earlier call is waited for again, and not restarted.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let mut waiting = self.begin()?;
        let ended = waiting.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = None;
        match ended.as_deref() {
            Some(Ok(addresses)) => Ok(addresses.clone()),
            Some(Err((kind, why))) => Err(Error::new(*kind, format!("looking up {}: {why}", self.host))),
            None => Err(Error::other(format!("looking up {}: the lookup panicked", self.host))),
        }
    }

    /// The name, while it is being looked up: a call of [`Self::addresses`] was given up, and nothing has answered since.
    pub(super) fn unanswered(&self) -> Option<&str> {
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = under_way.as_ref().is_some_and(|waiting| waiting.borrow().is_none());
        waiting.then_some(self.host.as_str())
    }

    fn begin(&self) -> Result<watch::Receiver<Option<Arc<LookupResult>>>, Error> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = &*under_way {
            return Ok(waiting.clone());
        }
        let (ended, waiting) = watch::channel(None);
        let (host, port) = (self.host.clone(), self.port);
        std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
            let found = (host.as_str(), port).to_socket_addrs();
            let found = found.map(Iterator::collect).map_err(|error| (error.kind(), error.to_string()));
            ended.send_replace(Some(Arc::new(found)));
        })?;
        *under_way = Some(waiting.clone());
        Ok(waiting)
    }
}
