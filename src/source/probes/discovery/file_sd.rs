//! Target files (pure): the format of Prometheus' `file_sd`, as JSON or YAML, and lists of connscope's targets.
//!
//! A file is a list. An element with `targets` is a group as in Prometheus: each target is `HOST:PORT`, a host for
//! ICMP, a path for a socket, or a URL for HTTP; all have the labels in `labels`. Labels that begin with two
//! underscores are settings (`__kind__`, `__preset__`, `__scrape_interval__`, `__scrape_timeout__`), or are dropped as
//! in Prometheus; `name` is the name of the target. Any other element has the format of `sources.probes.targets`.

use crate::settings::{self, Limits, Node, values};
use crate::source::probes::config::kind::Protocol;
use crate::source::probes::config::{Kind, Target, single};
use crate::text::{LONGEST_NAME, bounded, bounded_unique};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// Labels of a group that its targets do not get: the name, and those that a scraper sets.
const OTHERS: [&str; 3] = ["name", "job", "instance"];

/// Maximum number of values in a file, per target allowed.
const VALUES: u64 = 40;

/// A group as in Prometheus; its targets are deserialized individually.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(rename = "targets")]
    _targets: IgnoredAny,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Targets read from one file of file-based service discovery.
#[derive(Debug, Default)]
pub struct FileTargets {
    /// Targets within the limit.
    pub targets: Vec<Target>,
    /// Number of targets over the limit.
    pub beyond: usize,
}

/// Parses a file, JSON or YAML, up to `most` targets. The error begins with line and column.
pub fn read(text: &str, json: bool, most: usize) -> Result<FileTargets, String> {
    if json && !text.trim().is_empty() {
        // YAML accepts more than JSON; Prometheus would refuse such a file.
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            format!("{line}:{column}: {message}")
        })?;
    }
    // A connscope target has about ten values, and rarely forty.
    let nodes = VALUES.saturating_mul(u64::try_from(most.max(1000)).unwrap_or(u64::MAX));
    // Labels are cut, and the fields of a target have limits of their own.
    let limits = Limits { json, nodes, items: most, text: usize::MAX, ..Limits::default() };
    let tree = settings::parse(text, limits).map_err(|error| placed(&error))?;
    // A file is empty for a moment if its writer does not rename it into place.
    let tree = tree.filter(|tree| !tree.is_null());
    let tree = tree.ok_or_else(|| "1:1: is empty; a list without targets is []".to_owned())?;
    let mut listed = FileTargets::default();
    let (elements, more) = tree.items().map_err(|error| placed(&error))?;
    listed.beyond = usize::try_from(more).unwrap_or(usize::MAX);
    for (index, element) in elements.iter().enumerate() {
        let within = |error: settings::Error| placed(&error.in_item(index));
        if element.get("targets").is_some() {
            group(element, most, &mut listed).map_err(|wrong| match wrong {
                GroupError::Text(error) => within(error),
                GroupError::Target(why) => format!("1:1: group {}: {why}", index + 1),
            })?;
        } else if listed.targets.len() < most {
            let target = Target::deserialize(&**element).map_err(within)?;
            target.check().map_err(|why| format!("1:1: {why}"))?;
            listed.targets.push(target);
        } else {
            listed.beyond += 1;
        }
    }
    Ok(listed)
}

fn placed(error: &settings::Error) -> String {
    let (line, column) = error.position();
    let key = error.key().map(|key| key + ": ").unwrap_or_default();
    format!("{line}:{column}: {key}{}", error.message())
}

/// Error in a group.
enum GroupError {
    Text(settings::Error),
    Target(String),
}

/// Parses the targets of a group.
fn group(element: &Node, most: usize, listed: &mut FileTargets) -> Result<(), GroupError> {
    let Group { labels, .. } = Group::deserialize(element).map_err(GroupError::Text)?;
    let targets = element.get("targets").map_or(Ok((&[][..], 0)), Node::items);
    let (targets, more) = targets.map_err(|error| GroupError::Text(error.in_key("targets")))?;
    let (taken, beyond) = targets.split_at(targets.len().min(most.saturating_sub(listed.targets.len())));
    listed.beyond += beyond.len() + usize::try_from(more).unwrap_or(usize::MAX);
    if taken.is_empty() {
        return Ok(());
    }
    let template = template(&labels).map_err(GroupError::Target)?;
    for (index, text) in taken.iter().enumerate() {
        let within = |error: settings::Error| GroupError::Text(error.in_item(index).in_key("targets"));
        let text = String::deserialize(&**text).map_err(within)?;
        listed.targets.push(target(&text, &template).map_err(GroupError::Target)?);
    }
    Ok(())
}

/// The settings that the targets of a group share, including the labels.
fn template(labels: &BTreeMap<String, String>) -> Result<Target, String> {
    let label = |key: &str| labels.get(key).map(String::as_str);
    let shown = |word: &str| bounded(word, LONGEST_NAME);
    let word = label("__kind__").unwrap_or("tcp");
    let kind = Kind::of(word).ok_or_else(|| format!("`{}` is not a kind of probe", shown(word)))?;
    let mut template = Target { kind, ..Target::default() };
    template.name = label("name").map(|name| bounded_unique(name, LONGEST_NAME)).unwrap_or_default();
    if let Some(word) = label("__preset__") {
        let preset = serde_json::from_value(word.into());
        template.preset = Some(preset.map_err(|_| format!("`{}` is not a preset", shown(word)))?);
    }
    let duration = |key: &str, range| {
        label(key)
            .map(|text| {
                values::duration(text, range).map_err(|why| format!("{key}: `{}` {why}", shown(text)))
            })
            .transpose()
    };
    template.interval = duration("__scrape_interval__", crate::source::probes::config::INTERVAL)?;
    template.timeout = duration("__scrape_timeout__", crate::source::probes::config::TIMEOUT)?;
    let own = labels.iter().filter(|(key, value)| {
        !key.starts_with("__") && !OTHERS.contains(&key.as_str()) && !value.is_empty()
    });
    template.labels = single::shared(own.map(|(key, value)| (key.as_str(), value.as_str())))?;
    Ok(template)
}

fn target(text: &str, template: &Target) -> Result<Target, String> {
    let Target { host, port, path, url, .. } = parse_target(text, template.kind)?;
    let mut target = Target { host, port, path, url, ..template.clone() };
    if target.name.is_empty() {
        text.clone_into(&mut target.name);
    }
    target.check()?;
    Ok(target)
}

/// Parses a target: `HOST:PORT`, a host for ICMP, a path for a socket, a URL for HTTP.
pub fn parse_target(text: &str, kind: Kind) -> Result<Target, String> {
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
            let wrong = || {
                let text = bounded(text, LONGEST_NAME);
                format!("`{text}` is not HOST:PORT; IPv6 goes in brackets: [::1]:443")
            };
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
