//! The configuration of connection-status-exporter: what it says, and what that is here.
//!
//! It is one list, `sockets`. Keys that the exporter does not know it passes over without a word, and several values it
//! takes can never work; each such thing is said above the target it is about.

use super::{ConfigDraft, Input, Tool};
use crate::config::ConfigError;
use crate::config::load::document;
use crate::source::probes::config::check::TargetSeries;
use crate::source::probes::config::{Kind, Target};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// `connection-status-exporter`.
pub const TOOL: Tool =
    Tool { name: "connection-status", about: "connection-status-exporter", input: Input::File(import) };

/// Port that it listens on where its command line says nothing else.
const PORT: u16 = 9293;

/// What it takes for a time-out where the file says nothing.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    sockets: Option<Vec<Socket>>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

/// Its texts are what is written, whatever YAML makes of it elsewhere: `y` and `1.10` are names to the exporter.
#[derive(Debug, Default, Deserialize)]
struct Socket {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    port: Option<f64>,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    timeout: Option<f64>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

fn import(text: &str, path: &Path) -> Result<ConfigDraft, ConfigError> {
    let File { sockets, rest } = document::<File>(text, path)?.unwrap_or_default();
    let refuse = |number: usize, message: String| ConfigError::File {
        path: path.to_owned(),
        line: line_of(text, number),
        column: 1,
        key: format!("sockets[{number}]"),
        message,
    };
    let mut draft = ConfigDraft::pulled_at(PORT);
    draft.note("The exporter does not have these sources.");
    draft.put("sources.conntrack.enabled", &false);
    draft.put("sources.sockets.enabled", &false);
    for key in rest.keys() {
        draft.note(format!("`{key}` is left out: the exporter does not read it."));
    }
    draft.note(
        "The exporter probes when it is scraped, one target after the other; here each is probed this often, and a \
         scrape says what was found last.",
    );
    draft.put("sources.probes.interval", &"15s");
    let sockets = sockets.unwrap_or_default();
    if sockets.is_empty() {
        draft.note("The file has no sockets; the exporter starts and reports nothing.");
    } else {
        draft.note(
            "Of a name with several addresses the exporter takes the first that answers, so one that is half down is \
             up; here one address is probed, IPv4 first.",
        );
    }
    let mut taken = ImportedSeries::default();
    let mut targets = Vec::new();
    for (number, socket) in sockets.iter().enumerate() {
        let (mut notes, target) = target(socket).map_err(|message| refuse(number, message))?;
        let section = target.and_then(|target| {
            let name = target.name.clone();
            let section = taken.take(target, &mut notes);
            section.map_err(|why| notes.push(format!("`{name}` is left out: {why}."))).ok()
        });
        targets.push((notes, section));
    }
    draft.put_sections("sources.probes.targets", &targets);
    Ok(draft)
}

/// Series imported so far, to find duplicates.
#[derive(Default)]
struct ImportedSeries {
    /// Series of the exporter: name, host, port and protocol.
    old: BTreeSet<(String, String, Option<u16>, Kind)>,
    series: TargetSeries,
}

impl ImportedSeries {
    /// The section of a target that our own configuration takes; the error says why it does not.
    fn take(&mut self, mut target: Target, notes: &mut Vec<String>) -> Result<Value, String> {
        let written = serde_json::to_value(&target).map_err(|error| error.to_string())?;
        serde_json::from_value::<Target>(written).map_err(|error| error.to_string())?.check()?;
        let old = (target.name.clone(), target.host.clone(), target.port, target.kind);
        if !self.old.insert(old) {
            return Err("it is repeated, and both would have the same series".to_owned());
        }
        if !self.series.add(&target) {
            // The exporter tells them apart by their protocol, which the family and the transport do not always.
            let kind = target.kind.word();
            Arc::make_mut(&mut target.labels).insert("protocol".to_owned(), kind.into());
            if !self.series.add(&target) {
                return Err("it is repeated, and both would have the same series".to_owned());
            }
            notes.push(
                "Another target has the same host and port with another protocol; the label tells them apart.".to_owned(),
            );
        }
        serde_json::to_value(&target).map_err(|error| error.to_string())
    }
}

/// Line of the n-th entry of the list: a serialized entry does not know where it was.
fn line_of(text: &str, number: usize) -> u64 {
    let entries = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with('-'));
    entries.map(|(line, _)| line as u64 + 1).nth(number).unwrap_or(1)
}

/// A target, and what is to be said of it; `None` where it cannot be one, and never worked.
fn target(socket: &Socket) -> Result<(Vec<String>, Option<Target>), String> {
    let mut notes = Vec::new();
    let name = socket.name.clone().unwrap_or_default();
    if name.is_empty() {
        return Err("has no name; the exporter does not start".to_owned());
    }
    for key in socket.rest.keys() {
        notes.push(format!("`{key}` is left out: the exporter does not read it."));
    }
    let protocol = socket.protocol.as_deref().filter(|word| !word.is_empty()).unwrap_or("tcp");
    let kind = Kind::of(protocol)
        .filter(|kind| !matches!(kind.word(), "tls" | "http") && !protocol.starts_with("icmp"));
    let kind = kind.ok_or_else(|| format!("has the protocol `{protocol}`; the exporter does not start"))?;
    let port = socket.port.unwrap_or(0.0);
    if port == 0.0 {
        return Err("has no port; the exporter does not start".to_owned());
    }
    let written = port;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is checked before")]
    let port = (written.fract() == 0.0 && (1.0..=65535.0).contains(&written)).then_some(written as u16);
    let mut target =
        Target { name, kind, port, timeout: timeout(socket.timeout, &mut notes), ..Target::default() };
    let host = socket.host.clone().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']').clone_into(&mut target.host);
    if host.is_empty() {
        notes.push("host is missing, which means this machine in the exporter.".to_owned());
        "localhost".clone_into(&mut target.host);
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        notes.push(
            "The exporter reports an IPv6 address without brackets always as 0; here it is probed."
                .to_owned(),
        );
    }
    match protocol {
        "udp" | "udp4" | "udp6" => notes.push(
            "UDP was always 1, whether anything listened or not. Here a datagram is sent: an answer is 1, a closed port \
             0, and silence is not 1 either; say with preset, or send and expect, what is answered."
                .to_owned(),
        ),
        "ip" | "ip4" | "ip6" => {
            notes.push("The exporter reports ip always as 0; here it is an ICMP echo, and the port has no effect.".to_owned());
        }
        "unix" | "unixgram" | "unixpacket" => {
            notes.push(format!(
                "The exporter makes one path of host and port, {host}:{written}, and so does connscope. For the socket \
                 {host} write `path: {host}` instead of both."
            ));
        }
        _ => {}
    }
    let echo = protocol.starts_with("ip");
    if port.is_none() && !echo {
        notes.push(format!(
            "`{}` is left out: {written} is not a valid port, and the exporter reports it always as 0.",
            target.name
        ));
        return Ok((notes, None));
    }
    Ok((notes, Some(target)))
}

/// Seconds; a part of one counts for nothing there, and nothing is the default.
fn timeout(written: Option<f64>, notes: &mut Vec<String>) -> Option<Duration> {
    let seconds = written.unwrap_or(0.0).trunc();
    if written.is_some_and(|written| written.fract() != 0.0) {
        notes.push(format!("The exporter treats timeout {} as {seconds}.", written.unwrap_or(0.0)));
    }
    if seconds < 0.0 {
        notes.push("The exporter reports a target with a negative timeout always as 0; here it has the default timeout.".to_owned());
    }
    let seconds = if seconds > 0.0 { seconds } else { TIMEOUT.as_secs_f64() };
    let most = crate::source::probes::config::TIMEOUT.end();
    if seconds > most.as_secs_f64() {
        notes.push(format!(
            "timeout {seconds} exceeds the maximum; it is {} here.",
            humantime::format_duration(*most)
        ));
    }
    Some(Duration::from_secs_f64(seconds.min(most.as_secs_f64()))).filter(|timeout| *timeout != TIMEOUT)
}
