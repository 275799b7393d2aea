//! From a name to addresses: `/etc/hosts`, then the name servers, within the time of the probe.
//!
//! `getaddrinfo` cannot be stopped, does not tell a name that is not there from a server that is not there, and knows
//! no network namespace; so the questions are asked here. The files are read by `files`, the messages by `message`.

#![expect(clippy::disallowed_methods, reason = "the time makes the id of a question harder to guess")]

use super::datagram::{Arrival, Datagrams};
use super::fault::Fault;
use super::origin::Origin;
use crate::source::probes::config::{Family, Record};
use crate::source::probes::labels::ProbeError;
use files::{Hosts, Servers};
use message::{Answer, Question, Reply};
use socket2::Type;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub mod files;
pub mod message;

/// How long one server is waited for before the next is asked, where `resolv.conf` says nothing else. The C library
/// waits five seconds, which is the whole time of most probes.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often all servers are asked where each refuses at once; where they are silent, the time of the probe is the end.
const ROUNDS: usize = 2;

/// Answers to one question; more is cut off.
const DATAGRAM: usize = 4096;

/// Looks names up.
#[derive(Debug)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    hosts: Mutex<(Option<SystemTime>, Arc<Hosts>)>,
    chance: RandomState,
}

impl Resolver {
    /// With these name servers, or those of `resolv.conf` where there are none.
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, hosts: Mutex::new((None, Arc::new(Hosts::default()))), chance: RandomState::new() }
    }

    /// The addresses of a name: those of the first family that has any.
    pub async fn addresses(
        &self,
        name: &str,
        families: &[Family],
        origin: &Origin,
    ) -> Result<Vec<IpAddr>, Fault> {
        if let Ok(address) = name.parse::<IpAddr>() {
            let wanted = families.contains(&Family::of(address));
            let why = || format!("{address} is of the family that is not asked for");
            return if wanted { Ok(vec![address]) } else { Err(Fault::new(ProbeError::DnsNotFound, why())) };
        }
        for family in families {
            let known = self.known(name, *family)?;
            if !known.is_empty() {
                return Ok(known);
            }
        }
        let mut missing = None;
        for family in families {
            let record = if *family == Family::Ipv4 { Record::A } else { Record::Aaaa };
            match self.ask(name, record, origin).await {
                Ok(answers) => {
                    let addresses: Vec<IpAddr> = answers
                        .into_iter()
                        .filter_map(|answer| match answer {
                            Answer::Address(address) => Some(address),
                            Answer::Service { .. } => None,
                        })
                        .collect();
                    if !addresses.is_empty() {
                        return Ok(addresses);
                    }
                }
                Err(fault) if fault.local => return Err(fault),
                // The next family may be had all the same. Of two faults the one that says more is told.
                Err(fault) => {
                    missing = missing
                        .filter(|fault: &Fault| fault.error != ProbeError::DnsNotFound)
                        .or(Some(fault));
                }
            }
        }
        Err(missing.unwrap_or_else(|| {
            Fault::new(
                ProbeError::DnsNotFound,
                format!("`{name}` has no address of the family that is asked for"),
            )
        }))
    }

    /// What `/etc/hosts` says, and that `localhost` is this machine (RFC 6761, section 6.3).
    fn known(&self, name: &str, family: Family) -> Result<Vec<IpAddr>, Fault> {
        let plain = name.trim_end_matches('.').to_ascii_lowercase();
        let known = self.hosts()?.of(&plain, family);
        if known.is_empty() && (plain == "localhost" || plain.ends_with(".localhost")) {
            return Ok(vec![match family {
                Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
                Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
            }]);
        }
        Ok(known)
    }

    fn hosts(&self) -> Result<Arc<Hosts>, Fault> {
        const HOSTS: &str = "/etc/hosts";
        let changed = std::fs::metadata(HOSTS).and_then(|file| file.modified()).ok();
        let mut kept = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 != changed {
            *kept = (changed, Arc::new(Hosts::read(&text(Path::new(HOSTS))?)));
        }
        Ok(Arc::clone(&kept.1))
    }

    /// The records of a name, through the search list.
    pub async fn ask(&self, name: &str, record: Record, origin: &Origin) -> Result<Vec<Answer>, Fault> {
        let conf = if self.servers.is_empty() {
            Servers::read(&text(&origin.resolv_conf())?)
        } else {
            Servers { servers: self.servers.clone(), ..Servers::default() }
        };
        let mut missing = None;
        for candidate in conf.candidates(name) {
            match self.ask_for(&candidate, record, &conf, &origin.elsewhere()).await {
                Ok(answers) if answers.is_empty() => {}
                Err(fault) if fault.error == ProbeError::DnsNotFound => missing = missing.or(Some(fault)),
                ended => return ended,
            }
        }
        missing.map_or(Ok(Vec::new()), Err)
    }

    /// Asks server after server, over and over, until one answers; the deadline of the probe is the end of it.
    async fn ask_for(
        &self,
        name: &str,
        record: Record,
        conf: &Servers,
        origin: &Origin,
    ) -> Result<Vec<Answer>, Fault> {
        let patience = conf.timeout.unwrap_or(PATIENCE);
        let mut refused: Option<Fault> = None;
        let mut rounds = 0;
        loop {
            let mut silent = false;
            for server in &conf.servers {
                let id = u16::try_from(self.chance.hash_one((name, SystemTime::now())) & 0xffff).unwrap_or(0);
                let question = Question::new(id, name, record).map_err(|why| {
                    Fault::new(ProbeError::DnsNotFound, format!("`{name}` cannot be looked up: {why}"))
                })?;
                match tokio::time::timeout(patience, exchange(&question, *server, origin)).await {
                    Err(_) => silent = true,
                    Ok(Ok(Reply::Answers(answers))) => return Ok(answers),
                    Ok(Ok(Reply::NoSuchName)) => {
                        return Err(Fault::new(ProbeError::DnsNotFound, format!("`{name}` does not exist")));
                    }
                    Ok(Ok(Reply::Failed(word))) => {
                        let why = format!("the name server {server} answers {word} for `{name}`");
                        refused = Some(Fault::new(ProbeError::Other, why));
                    }
                    Ok(Ok(Reply::Truncated)) => {
                        let why = format!("the name server {server} has too long an answer for `{name}`");
                        refused = Some(Fault::new(ProbeError::Other, why));
                    }
                    Ok(Err(fault)) if fault.local => return Err(fault),
                    Ok(Err(fault)) => {
                        let why = format!("asking the name server {server}: {}", fault.why);
                        refused = refused.or(Some(Fault::new(ProbeError::DnsTimeout, why)));
                    }
                }
            }
            rounds += 1;
            if conf.servers.is_empty() {
                return Err(Fault::new(ProbeError::DnsTimeout, "there is no name server to ask"));
            }
            if let Some(fault) = refused.take().filter(|_| !silent && rounds >= ROUNDS) {
                return Err(fault);
            }
        }
    }
}

/// The text of one of the two files; none where there is no such file. Where it cannot be opened for want of a descriptor
/// nobody knows what it says.
fn text(path: &Path) -> Result<String, Fault> {
    crate::sys::read_limited(path, files::MOST).or_else(|error| {
        let fault = Fault::io(&format!("reading {}", path.display()), &error);
        if fault.local { Err(fault) } else { Ok(String::new()) }
    })
}

/// One question to one server, over UDP, and over TCP where the answer is too long.
async fn exchange(question: &Question, server: SocketAddr, origin: &Origin) -> Result<Reply, Fault> {
    let failed = |error: std::io::Error| Fault::io("asking", &error);
    let socket = origin.socket_to(server, Type::DGRAM, None).await?;
    socket
        .connect(&server.into())
        .map_err(|error| Fault::connecting(&format!("asking the name server {server}"), &error))?;
    let socket = Datagrams::new(socket)?;
    socket.send(question.bytes())?;
    let mut buffer = [0; DATAGRAM];
    loop {
        let Arrival::Packet(length, _) = socket.receive(&mut buffer).await.map_err(failed)? else { continue };
        // What is no answer to this question is passed over: anybody may send datagrams.
        match buffer.get(..length).and_then(|bytes| question.reply(bytes)) {
            Some(Reply::Truncated) => break,
            Some(reply) => return Ok(reply),
            None => {}
        }
    }
    let (mut stream, _) = super::connect::tcp(origin, server).await?;
    let length = u16::try_from(question.bytes().len()).unwrap_or(0).to_be_bytes();
    stream.write_all(&[&length, question.bytes()].concat()).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await.map_err(failed)?;
    Ok(question.reply(&bytes).unwrap_or(Reply::Failed("nonsense")))
}
