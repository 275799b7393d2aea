//! UDP probe: sends a datagram; the response or its absence is the result.
//!
//! A response means open. An ICMP error means closed, or that the host or network is unreachable (`IP_RECVERR`; without
//! it the kernel reports only closed ports). No response is no answer, and never counts as up.

use super::expectation::Expectation;
use crate::host::datagram::{Arrival, RESENDS};
use crate::source::probes::attempt::Attempt;
use crate::source::probes::config::Target as Settings;
use crate::source::probes::config::text::{unescape, unhex};
use crate::source::probes::connect;
use crate::source::probes::datagram::Datagrams;
use crate::source::probes::fault::Fault;
use crate::source::probes::labels::{Phase, ProbeError};
use preset::PresetRequest;
use socket2::Type;
use std::os::fd::AsFd;

pub mod preset;

/// The request and the expected response.
#[derive(Debug)]
enum Payload {
    /// The configured request; without an expectation any response is accepted.
    Own(Vec<u8>, Option<Expectation>),
    /// Request of a preset, and its `query`.
    Preset(crate::source::probes::config::Preset, String),
}

/// A UDP probe.
#[derive(Debug)]
pub struct Udp {
    host: String,
    port: u16,
    payload: Payload,
}

impl Udp {
    /// Creates the probe from its settings. Without a request an empty datagram is sent, for which a closed port also
    /// sends an error.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let payload = if let Some(preset) = settings.preset {
            PresetRequest::new(preset, &settings.query, &settings.host)?;
            Payload::Preset(preset, settings.query.clone())
        } else {
            let bytes = match (&settings.send, &settings.send_hex) {
                (Some(text), _) => unescape(text)?,
                (None, Some(hex)) => unhex(hex)?,
                (None, None) => Vec::new(),
            };
            let expect = Expectation::new(settings.expect.as_ref(), settings.expect_hex.as_ref())?;
            Payload::Own(bytes, expect)
        };
        Ok(Self { host: settings.server().0, port: settings.port.unwrap_or(0), payload })
    }

    /// Sends the request and waits for the response.
    pub async fn run(&self, attempt: &mut Attempt<'_>) -> Result<(), Fault> {
        let peer = attempt.resolve(&self.host, self.port).await?;
        let failed = |doing: &'static str| move |error: std::io::Error| Fault::io(doing, &error);
        let socket = attempt.origin().socket_to(peer, Type::DGRAM, None).await?;
        crate::sys::socket::receive_errors(socket.as_fd(), peer.is_ipv6())
            .map_err(failed("setting IP_RECVERR"))?;
        socket
            .connect(&peer.into())
            .map_err(|error| Fault::connecting("finding a route to the peer", &error))?;
        let here = socket.local_addr().map_err(failed("getting the local address"))?;
        if here.as_socket().is_some_and(|here| connect::is_self(here, peer)) {
            return Err(connect::self_connection(peer));
        }
        let socket = Datagrams::new(socket)?;
        let began = attempt.begin(Phase::Request);
        let question = match &self.payload {
            Payload::Own(..) => None,
            Payload::Preset(preset, query) => Some(
                PresetRequest::new(*preset, query, &self.host)
                    .map_err(|why| Fault::new(ProbeError::Other, why))?,
            ),
        };
        let bytes = match (&question, &self.payload) {
            (Some(question), _) => question.bytes(),
            (None, Payload::Own(bytes, _)) => bytes,
            (None, Payload::Preset(..)) => &[],
        };
        socket.send(bytes)?;
        attempt.silent = true;
        // The buffer is allocated when there is data: thousands of probes may be waiting.
        socket.ready().await.map_err(failed("waiting for an answer"))?;
        let mut buffer = vec![0; 64 * 1024];
        let mut resends = 0;
        let length = loop {
            match socket.receive(&mut buffer).await.map_err(failed("waiting for an answer"))? {
                Arrival::Packet(length, _) => break length,
                Arrival::TooBig(_) if resends < RESENDS => {
                    resends += 1;
                    socket.send(bytes)?;
                }
                Arrival::Sent(..) | Arrival::TooBig(_) => {}
            }
        };
        attempt.silent = false;
        attempt.end(Phase::Request, began.elapsed());
        let answer = buffer.get(..length).unwrap_or(&[]);
        attempt.note(|| format!("{length} bytes received"));
        let met = match (&question, &self.payload) {
            (Some(question), _) => question.judge(answer),
            (None, Payload::Own(_, Some(expect))) if !expect.is_met(answer).await? => {
                Err("the response is not as expected".to_owned())
            }
            _ => Ok(()),
        };
        met.map_err(|why| Fault::new(ProbeError::UnexpectedResponse, why))
    }
}
