//! Docker's socket, `GET /containers/ID/json`: requested on a thread of its own, so that a daemon that hangs blocks
//! nothing.

use super::{MAX_BYTES, docker};
use crate::host::inventory::identity::ContainerMetadata;
use crate::runtime;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// Maximum number of waiting requests; further ones are made at the next retry of the name.
const WAITING: usize = 256;

/// Time-out of a request.
const ANSWER: Duration = Duration::from_secs(2);

/// A client of Docker's socket, with its thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Socket {
    questions: SyncSender<String>,
    answers: Receiver<(String, ContainerMetadata)>,
}

impl Socket {
    /// Starts the thread, without a request.
    pub fn new(path: PathBuf) -> std::io::Result<Self> {
        let (questions, asked) = sync_channel(WAITING);
        let (answer, answers) = channel();
        let runtime = runtime::of_one_thread("", 0)?;
        std::thread::Builder::new()
            .name("docker-names".to_owned())
            .spawn(move || serve(&runtime, &path, &asked, &answer))?;
        Ok(Self { questions, answers })
    }

    /// Requests the metadata of a container; [`Socket::answers`] returns it later, if there is any.
    pub fn ask(&self, id: &str) {
        let _asked_later_where_full = self.questions.try_send(id.to_owned());
    }

    /// The answers received since the last call.
    pub fn answers(&self) -> impl Iterator<Item = (String, ContainerMetadata)> {
        self.answers.try_iter()
    }
}

fn serve(
    runtime: &Runtime,
    path: &Path,
    asked: &Receiver<String>,
    answers: &Sender<(String, ContainerMetadata)>,
) {
    while let Ok(id) = asked.recv() {
        let answer = runtime.block_on(async { tokio::time::timeout(ANSWER, get(path, &id)).await });
        if let Ok(Some(found)) = answer
            && answers.send((id, found)).is_err()
        {
            return;
        }
    }
}

/// One request over a connection of its own; `None` if it fails or has no container.
async fn get(path: &Path, id: &str) -> Option<ContainerMetadata> {
    let stream = UnixStream::connect(path).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driven = tokio::spawn(connection);
    let request = Request::get(format!("/containers/{id}/json")).header("Host", "docker");
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).ok()?).await.ok()?;
    let found = if response.status() == StatusCode::OK {
        let most = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
        let body = Limited::new(response.into_body(), most).collect().await;
        body.ok().and_then(|body| docker::parse(&body.to_bytes()))
    } else {
        None
    };
    driven.abort();
    found
}
