//! The thread of the endpoint, and the connections accepted from its sockets.

use super::Web;
use super::arrivals::{self, Arrival};
use super::connections::StallGuardedStream;
use super::stream::{Listener, Stream};
use crate::stop::Stop;
use crate::sys::activation::ListeningSocket;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

impl Web {
    /// Serves another socket.
    pub fn listen(&self, socket: ListeningSocket) {
        let _ends_with_the_agent = self.more.0.send(socket);
    }

    /// Serves requests on a thread of its own until the agent stops.
    pub fn start(self: &Arc<Self>, sockets: Vec<ListeningSocket>, stop: &Stop) -> io::Result<()> {
        let runtime = crate::runtime::of_one_thread("", 0)?;
        let (web, stop) = (Arc::clone(self), stop.clone());
        let mut more = self.more.1.lock().unwrap_or_else(PoisonError::into_inner).take();
        let serve = move || {
            let serve = |socket| match Listener::new(socket) {
                Ok(listener) => drop(tokio::spawn(Arc::clone(&web).serve(listener))),
                Err(error) => tracing::error!("the endpoint cannot use one of its sockets: {error}"),
            };
            runtime.block_on(async {
                sockets.into_iter().for_each(serve);
                let also = async {
                    while let Some(socket) = more.as_mut()?.recv().await {
                        serve(socket);
                    }
                    Some(())
                };
                tokio::select! {
                    () = stop.exhausted(Duration::ZERO) => {}
                    _none = also => stop.exhausted(Duration::ZERO).await,
                }
            });
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("http".to_owned()).spawn(serve)?;
        Ok(())
    }

    async fn serve(self: Arc<Self>, listener: Listener) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let arrival = self.arrivals.add(&stream, from);
                    let id = arrival.id();
                    let task = tokio::spawn(Arc::clone(&self).accept_arrival(stream, arrival));
                    self.arrivals.served_by(id, task.abort_handle());
                    // Lets accepted connections proceed: otherwise a burst of connections would be accepted first, a
                    // hundred at a time.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    // Usually EMFILE: the process has no free descriptors.
                    tracing::debug!(%error, "accepting a connection");
                    self.arrivals.close_one();
                    self.connections.close_idle();
                    tokio::time::sleep(crate::timeouts::GLANCE).await;
                }
            }
        }
    }

    async fn accept_arrival(self: Arc<Self>, mut stream: Stream, arrival: Arrival) {
        let Ok(first) = arrival.prefix(&mut stream).await else { return };
        let ticket = if arrivals::asks_for_health(&first) {
            self.connections.add_if_room()
        } else {
            Some(self.connections.add().await)
        };
        let Some(ticket) = ticket else {
            // A health request is answered at once and is not counted as a connection.
            let ticket = Arc::new(self.connections.uncounted());
            return self.accept_tls(StallGuardedStream::new(stream, first, ticket), false).await;
        };
        // No other task runs between this and the read of the request, so the slot cannot be taken by another
        // connection.
        if let Some(task) = arrival.leave() {
            self.connections.served_by(ticket.id(), task);
        }
        self.accept_tls(StallGuardedStream::new(stream, first, Arc::new(ticket)), true).await;
    }
}
