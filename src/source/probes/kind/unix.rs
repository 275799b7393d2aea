//! Unix socket probe: stream, datagram or sequenced packets; in the file system or abstract (`@name`). A stream may
//! have a conversation.

#![expect(clippy::disallowed_methods, reason = "the duration of a connect is measured")]

use super::conversation::Conversation;
use crate::source::probes::attempt::Attempt;
use crate::source::probes::config::{Kind, Target as Settings};
use crate::source::probes::fault::Fault;
use crate::source::probes::labels::{Phase, ProbeError};
use socket2::{Domain, SockAddr, Type};
use std::io;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

/// Interval at which a connect is retried while the accept queue is full: the kernel returns `EAGAIN`, and gives no
/// notification (`unix_stream_connect` in `net/unix/af_unix.c`).
const FULL: Duration = Duration::from_millis(5);

/// A probe of a Unix socket.
#[derive(Debug)]
pub struct Unix {
    path: String,
    kind: Type,
    conversation: Conversation,
}

impl Unix {
    /// Creates the probe from its settings.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let kind = match settings.kind {
            Kind::Unixgram => Type::DGRAM,
            Kind::Unixpacket => Type::SEQPACKET,
            _ => Type::STREAM,
        };
        Ok(Self { path: settings.unix_path(), kind, conversation: Conversation::new(settings)? })
    }

    /// Connects, and runs the conversation.
    pub async fn run(&self, attempt: &mut Attempt<'_>) -> Result<(), Fault> {
        attempt.begin(Phase::Connect);
        // Abstract sockets belong to a network namespace.
        let socket = attempt.origin().socket(Domain::UNIX, self.kind, None).await?;
        let doing = format!("connecting to {}", self.path);
        let address = address(&self.path).map_err(|error| Fault::io(&doing, &error))?;
        let began = Instant::now();
        loop {
            match socket.connect(&address) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(FULL).await,
                Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
                    let why = format!("{doing}: it is a socket of another type");
                    return Err(Fault::new(ProbeError::Other, why));
                }
                // An abstract name without a socket; the kernel reports the same for a socket without a listener.
                Err(error) => return Err(Fault::io(&doing, &error)),
            }
        }
        attempt.end(Phase::Connect, began.elapsed());
        if self.kind != Type::STREAM {
            return Ok(());
        }
        let mut stream = UnixStream::from_std(socket.into()).map_err(|error| Fault::io(&doing, &error))?;
        self.conversation.run(attempt, &mut stream).await
    }
}

/// The address of a path; `@name` is abstract: a zero byte and the name.
fn address(path: &str) -> io::Result<SockAddr> {
    match path.strip_prefix('@') {
        Some(name) => SockAddr::unix(format!("\0{name}")),
        None => SockAddr::unix(path),
    }
}
