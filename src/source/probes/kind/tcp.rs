//! TCP: one connection to one address; then TLS from the beginning (`kind: tls`), and a conversation.

use super::conversation::{Conversation, Talk};
use super::tls::{self, Tls};
use crate::config::probes::{Kind, Target as Settings};
use crate::metric::label::Phase;
use crate::source::probes::attempt::Attempt;
use crate::source::probes::connect;
use crate::source::probes::fault::Fault;
use tokio::net::TcpStream;

/// What is done over a connection.
#[derive(Debug)]
pub struct Tcp {
    host: String,
    port: u16,
    /// For TLS from the beginning, or from a step of the conversation on.
    tls: Option<Tls>,
    at_once: bool,
    conversation: Conversation,
}

impl Tcp {
    /// As configured.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let conversation = Conversation::new(settings)?;
        let at_once = settings.kind == Kind::Tls;
        let tls =
            (at_once || conversation.starts_tls()).then(|| Tls::new(&settings.tls, &settings.host, &[]));
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port.unwrap_or(0),
            tls: tls.transpose()?,
            at_once,
            conversation,
        })
    }

    /// Connects, and says and hears what is configured.
    pub async fn run(&self, attempt: &mut Attempt<'_>) -> Result<(), Fault> {
        let peer = attempt.resolve(&self.host, self.port).await?;
        attempt.begin(Phase::Connect);
        let (stream, took) = connect::tcp(attempt.origin(), peer).await?;
        attempt.end(Phase::Connect, took);
        match &self.tls {
            Some(tls) if self.at_once => {
                let (mut stream, asked) = tls.shake_hands(attempt, stream).await?;
                if asked && self.conversation.is_empty() {
                    return tls::settle(attempt, &mut stream).await;
                }
                self.conversation.hold(attempt, &mut stream).await
            }
            Some(tls) => self.talk_into_tls(attempt, stream, tls).await,
            None => {
                let mut stream = stream;
                self.conversation.hold(attempt, &mut stream).await
            }
        }
    }

    /// Up to the step that begins with TLS in the open, the rest encrypted.
    async fn talk_into_tls(
        &self,
        attempt: &mut Attempt<'_>,
        mut stream: TcpStream,
        tls: &Tls,
    ) -> Result<(), Fault> {
        let mut talk = Talk::new(&self.conversation);
        talk.until_tls(attempt, &mut stream).await?;
        let (mut stream, _) = tls.shake_hands(attempt, stream).await?;
        talk.until_tls(attempt, &mut stream).await
    }
}
