//! `POST /-/reload`: reloads the configuration.

use super::{HttpResponse, TEXT, Web, respond};
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue, ORIGIN};
use hyper::{Method, Request, StatusCode};
use tokio::sync::{mpsc, oneshot};

/// Result of a reload: what has changed and what needs a restart, or why the configuration was refused.
pub type Reloaded = Result<String, String>;

/// Requests reloads. Requests during a reload share the next one.
#[derive(Debug, Clone)]
pub struct ReloadRequests(mpsc::Sender<oneshot::Sender<Reloaded>>);

/// Receiver of reload requests; each has a sender for the result.
pub type ReloadQueue = mpsc::Receiver<oneshot::Sender<Reloaded>>;

/// Maximum number of waiting requests: one for each connection.
const MAX_WAITING: usize = super::connections::MAX_CONNECTIONS;

impl ReloadRequests {
    /// Creates both ends.
    pub fn channel() -> (Self, ReloadQueue) {
        let (requests, queue) = mpsc::channel(MAX_WAITING);
        (Self(requests), queue)
    }

    /// Requests a reload; `None` if too many requests wait.
    pub fn ask(&self) -> Option<oneshot::Receiver<Reloaded>> {
        let (sender, receiver) = oneshot::channel();
        self.0.try_send(sender).ok().map(|()| receiver)
    }
}

impl Web {
    pub(super) async fn reload(&self, request: &Request<Incoming>) -> HttpResponse {
        if !matches!(*request.method(), Method::POST | Method::PUT) {
            let why = "POST and PUT are answered\n".to_owned();
            let mut answer = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, why);
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, PUT"));
            return answer;
        }
        let refused = |why: &str| respond(StatusCode::FORBIDDEN, TEXT, format!("{why}\n"));
        if !self.current().lifecycle {
            return refused("not enabled; set --web.enable-lifecycle or export.prometheus.lifecycle: true");
        }
        if request.headers().contains_key(ORIGIN) {
            return refused("requests of web pages (with Origin) are never allowed");
        }
        let Some(receiver) = self.reloads.ask() else {
            let why = "too many reload requests in progress\n".to_owned();
            return respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, why);
        };
        match receiver.await {
            Ok(Ok(text)) => respond(StatusCode::OK, TEXT, text + "\n"),
            Ok(Err(why)) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, why + "\n"),
            Err(_) => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the agent is stopping\n".to_owned()),
        }
    }
}
