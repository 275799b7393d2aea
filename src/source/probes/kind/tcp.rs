//! TCP probe: a connection to one address, optional TLS from the beginning (`kind: tls`), and a conversation.

use super::conversation::{Conversation, Session};
use super::tls::{self, Tls};
use crate::source::probes::attempt::Attempt;
use crate::source::probes::config::{Kind, Target as Settings};
use crate::source::probes::connect;
use crate::source::probes::fault::Fault;
use crate::source::probes::labels::Phase;
use tokio::net::TcpStream;

/// A TCP or TLS probe.
#[derive(Debug)]
pub struct Tcp {
    host: String,
    port: u16,
    /// TLS client, for TLS from the beginning or from a step of the conversation.
    tls: Option<Tls>,
    at_once: bool,
    conversation: Conversation,
}

impl Tcp {
    /// Creates the probe from its settings.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let conversation = Conversation::new(settings)?;
        let at_once = settings.kind == Kind::Tls;
        let tls =
            (at_once || conversation.starts_tls()).then(|| Tls::new(&settings.tls, &settings.host, &[]));
        Ok(Self {
            host: settings.server().0,
            port: settings.port.unwrap_or(0),
            tls: tls.transpose()?,
            at_once,
            conversation,
        })
    }

    /// The TLS client, if it uses TLS.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Connects, and runs the conversation.
    pub async fn run(&self, attempt: &mut Attempt<'_>) -> Result<(), Fault> {
        let peer = attempt.resolve(&self.host, self.port).await?;
        attempt.begin(Phase::Connect);
        let (stream, took) = connect::tcp(attempt.origin(), peer).await?;
        attempt.end(Phase::Connect, took);
        match &self.tls {
            Some(tls) if self.at_once => {
                let (mut stream, certificate_requested) = tls.handshake(attempt, stream).await?;
                if certificate_requested && self.conversation.is_empty() {
                    return tls::wait_for_rejection(attempt, &mut stream).await;
                }
                self.conversation.run(attempt, &mut stream).await
            }
            Some(tls) => self.run_into_tls(attempt, stream, tls).await,
            None => {
                let mut stream = stream;
                self.conversation.run(attempt, &mut stream).await
            }
        }
    }

    /// Runs the steps up to the one that starts TLS in clear text, and the rest over TLS.
    async fn run_into_tls(
        &self,
        attempt: &mut Attempt<'_>,
        mut stream: TcpStream,
        tls: &Tls,
    ) -> Result<(), Fault> {
        let mut session = Session::new(&self.conversation);
        session.until_tls(attempt, &mut stream).await?;
        let (mut stream, _) = tls.handshake(attempt, stream).await?;
        session.until_tls(attempt, &mut stream).await
    }
}
