//! Files of targets (pure): the format of Prometheus' `file_sd`, as JSON or YAML, and lists of our own targets.
//!
//! A list. An element with `targets` is a group of Prometheus': each target is `HOST:PORT`, a host for ICMP, a path for
//! a socket, a URL for HTTP; `labels` go onto all of them. Labels that begin with two underscores say how it is
//! probed (`__kind__`, `__preset__`, `__scrape_interval__`, `__scrape_timeout__`), or are passed over as Prometheus does;
//! `name` is what the target is called. Any other element is a target as `sources.probes.targets` has it.

use crate::settings::{self, values};
use crate::source::probes::config::kind::Protocol;
use crate::source::probes::config::{Kind, Target};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::BTreeMap;

/// Labels of a group that are none of its targets here: the name, and what whoever scrapes the agent sets.
const OTHERS: [&str; 3] = ["name", "job", "instance"];

/// A group of Prometheus'.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// The targets of a file, JSON or YAML; the error begins with its place.
pub fn read(text: &str, json: bool) -> Result<Vec<Target>, String> {
    let groups = match parse::<Vec<Group>>(text, json) {
        Ok(Some(groups)) => groups,
        // A file is empty for a moment where its writer does not put it in place at once.
        Ok(None) => return Err("1:1: is empty; a list without targets is []".to_owned()),
        // One that is no list of groups may be one of targets; which error to tell depends on what it looks like.
        Err(wrong) => {
            return match parse::<Vec<Target>>(text, json) {
                Ok(targets) => check(targets.unwrap_or_default()),
                Err(other) if text.contains("targets") => {
                    Err(if other.contains("targets") { wrong } else { other })
                }
                Err(other) => Err(other),
            };
        }
    };
    let targets: Result<Vec<Vec<Target>>, String> = groups
        .iter()
        .enumerate()
        .map(|(index, group)| {
            group
                .targets
                .iter()
                .map(|text| {
                    target(text, &group.labels).map_err(|why| format!("1:1: group {}: {why}", index + 1))
                })
                .collect()
        })
        .collect();
    targets.map(|targets| targets.into_iter().flatten().collect())
}

fn check(targets: Vec<Target>) -> Result<Vec<Target>, String> {
    match targets.iter().find_map(|target| target.check().err()) {
        Some(why) => Err(format!("1:1: {why}")),
        None => Ok(targets),
    }
}

fn parse<T: DeserializeOwned>(text: &str, json: bool) -> Result<Option<T>, String> {
    if json && !text.trim().is_empty() {
        // What YAML takes and JSON does not is a mistake in a file that Prometheus would refuse.
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            format!("{line}:{column}: {message}")
        })?;
    }
    settings::document(text, settings::Limits { json, ..settings::Limits::default() }).map_err(|error| {
        let (line, column) = error.place();
        let key = error.key().map(|key| key + ": ").unwrap_or_default();
        format!("{line}:{column}: {key}{}", error.message())
    })
}

fn target(text: &str, labels: &BTreeMap<String, String>) -> Result<Target, String> {
    let label = |key: &str| labels.get(key).map(String::as_str);
    let word = label("__kind__").unwrap_or("tcp");
    let kind = Kind::of(word).ok_or_else(|| format!("`{word}` is no kind of probe"))?;
    let mut target = place(text, kind)?;
    label("name").unwrap_or(text).clone_into(&mut target.name);
    if let Some(word) = label("__preset__") {
        let preset = serde_json::from_value(word.into());
        target.preset = Some(preset.map_err(|_| format!("`{word}` is no preset"))?);
    }
    let duration = |key: &str, range| {
        label(key)
            .map(|text| values::duration(text, range).map_err(|why| format!("{key}: `{text}` {why}")))
            .transpose()
    };
    target.interval = duration("__scrape_interval__", crate::source::probes::config::INTERVAL)?;
    target.timeout = duration("__scrape_timeout__", crate::source::probes::config::TIMEOUT)?;
    for (key, value) in labels {
        if key.starts_with("__") || OTHERS.contains(&key.as_str()) || value.is_empty() {
            continue;
        }
        crate::source::probes::config::single::check_label(key)?;
        target.labels.insert(key.clone(), value.clone());
    }
    target.check()?;
    Ok(target)
}

/// A target of one text: `HOST:PORT`, a host for ICMP, a path for a socket, a URL for HTTP.
pub fn place(text: &str, kind: Kind) -> Result<Target, String> {
    let mut target = Target { kind, ..Target::default() };
    let bare = |host: &str| {
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inner.unwrap_or(host).to_owned()
    };
    match kind.protocol() {
        Protocol::Icmp => target.host = bare(text),
        Protocol::Unix => text.clone_into(&mut target.path),
        Protocol::Http if text.contains("://") => text.clone_into(&mut target.url),
        Protocol::Http => target.url = format!("http://{text}"),
        Protocol::Tcp | Protocol::Udp | Protocol::Tls => {
            let wrong = || format!("`{text}` is not HOST:PORT; IPv6 goes in brackets: [::1]:443");
            let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
            if host.contains(':') && !host.starts_with('[') {
                return Err(wrong());
            }
            target.host = bare(host);
            target.port = Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?);
        }
    }
    Ok(target)
}
