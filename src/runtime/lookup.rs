//! Resolves a name with the C library, on a thread of its own.
//!
//! `getaddrinfo` cannot be cancelled: without a response of the name server it takes tens of seconds. At most one
//! thread for each [`Lookup`] waits for it, and none of the threads for scrapes and other blocking work.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

type LookupResult = Result<Vec<SocketAddr>, (ErrorKind, String)>;

/// Resolver of one name.
#[derive(Debug)]
pub struct Lookup {
    host: String,
    port: u16,
    in_progress: Mutex<Option<watch::Receiver<Option<Arc<LookupResult>>>>>,
}

impl Lookup {
    /// Of this host, which may be an address. Nothing is looked up yet.
    pub fn new(host: String, port: u16) -> Self {
        Self { host, port, in_progress: Mutex::default() }
    }

    /// Resolves the name; what the system has for it, with the port. There is no limit but that of the C library, tens of
    /// seconds. A lookup that timed out in an earlier call is awaited again, and not restarted.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let mut waiting = self.begin()?;
        let ended = waiting.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        *self.in_progress.lock().unwrap_or_else(PoisonError::into_inner) = None;
        match ended.as_deref() {
            Some(Ok(addresses)) => Ok(addresses.clone()),
            Some(Err((kind, why))) => Err(Error::new(*kind, format!("looking up {}: {why}", self.host))),
            None => Err(Error::other(format!("looking up {}: the lookup panicked", self.host))),
        }
    }

    /// The name, if its lookup had not ended when a call of [`Self::addresses`] was cancelled.
    pub fn unanswered(&self) -> Option<&str> {
        let in_progress = self.in_progress.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = in_progress.as_ref().is_some_and(|waiting| waiting.borrow().is_none());
        waiting.then_some(self.host.as_str())
    }

    fn begin(&self) -> Result<watch::Receiver<Option<Arc<LookupResult>>>, Error> {
        let mut in_progress = self.in_progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = &*in_progress {
            return Ok(waiting.clone());
        }
        let (ended, waiting) = watch::channel(None);
        let (host, port) = (self.host.clone(), self.port);
        std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
            let found = (host.as_str(), port).to_socket_addrs();
            let found = found.map(Iterator::collect).map_err(|error| (error.kind(), error.to_string()));
            ended.send_replace(Some(Arc::new(found)));
        })?;
        *in_progress = Some(waiting.clone());
        Ok(waiting)
    }
}
