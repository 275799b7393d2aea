//! The command line of coroot-node-agent: it has no configuration file. Flags of its first release and of later ones, what each
//! is here, and which have no counterpart.

use super::{ConfigDraft, Input, Tool};
use crate::catalog::Config;
use crate::cloud::instance::value;
use crate::config::{Address, ConfigError, Listen, Protocol, endpoint};
use crate::host::inventory::config::Inventory;
use crate::metric::naming::Profile;
use crate::settings::network::Network;
use crate::text::bounded;
use std::collections::BTreeMap;
use std::path::Path;

/// `coroot-node-agent`.
pub const TOOL: Tool = Tool {
    name: "coroot-node-agent",
    about: "the command line of coroot-node-agent, behind `--`",
    input: Input::Flags(import),
};

/// What is done about a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlagHandling {
    /// It sets this key here.
    Set(&'static str),
    /// It has none, and this is why.
    None(&'static str),
}

use FlagHandling::{None as Without, Set};

/// A flag: its name, whether it stands alone (`--no-parse-logs`), and what it means here.
const FLAGS: &[(&str, bool, FlagHandling)] = &[
    ("--listen", false, Set("export.prometheus.listen")),
    ("--cgroupfs-root", false, Without("control groups are found where they are mounted")),
    ("--no-parse-logs", true, Set("sources.logs.enabled")),
    ("--disable-log-parsing", true, Set("sources.logs.enabled")),
    (
        "--no-ping-upstreams",
        true,
        Without("nothing is sent unless tcp.latency is icmp: round trips are those that the kernel measures"),
    ),
    (
        "--disable-pinger",
        true,
        Without("nothing is sent unless tcp.latency is icmp: round trips are those that the kernel measures"),
    ),
    ("--track-public-network", false, Set("sources.containers.tcp")),
    ("--ephemeral-port-range", false, Without("ports of net.ipv4.ip_local_port_range are folded into one")),
    ("--provider", false, Set("resource.cloud.provider")),
    ("--region", false, Set("resource.cloud.region")),
    ("--availability-zone", false, Set("resource.cloud.availability_zone")),
    ("--instance-type", false, Set("resource.cloud.instance_type")),
    ("--instance-life-cycle", false, Without("it is what the cloud's metadata says")),
    ("--container-allowlist", false, Set("inventory.include")),
    ("--container-denylist", false, Set("inventory.exclude")),
    ("--skip-systemd-system-services", true, Set("inventory.exclude")),
    ("--scrape-interval", false, Set("export.otlp.interval")),
    ("--log-patterns-per-container", false, Set("sources.logs.patterns")),
    ("--max-label-length", false, Set("sources.logs.sample_length")),
    ("--ca-file", false, Set("export.otlp.tls.ca_file")),
    ("--metrics-endpoint", false, Set("export.otlp.endpoint")),
    ("--collector-endpoint", false, Set("export.otlp.endpoint")),
    ("--api-key", false, Without("set a header that the receiver takes in export.otlp.headers")),
    ("--insecure-skip-verify", true, Without("set export.otlp.tls.ca_file")),
    ("--wal-dir", false, Without("nothing is kept on disk")),
    ("--max-spool-size", false, Without("nothing is kept on disk")),
    ("--traces-endpoint", false, Without("there are no traces")),
    ("--logs-endpoint", false, Without("no log line leaves the machine")),
    ("--profiles-endpoint", false, Without("there are no profiles")),
    ("--disable-l7-tracing", true, Without("the contents of connections are not read")),
    ("--exclude-http-requests-by-path", false, Without("the contents of connections are not read")),
    (
        "--disable-json-log-parsing",
        true,
        Without("the text of a message is found in JSON, or the line is the message"),
    ),
    ("--disable-gpu-monitoring", true, Without("GPUs are not read")),
    ("--min-container-age", false, Without("a container counts from its start")),
    (
        "--max-fqdns-per-container",
        false,
        Without("names of destinations are not reported; tcp.destinations bounds them"),
    ),
    ("--log-per-second", false, Without("sources.logs.pattern_rate bounds how many messages are compared")),
    ("--log-burst", false, Without("sources.logs.pattern_rate bounds how many messages are compared")),
    ("--instrumentation-delay", false, Without("no process is instrumented")),
];

/// The flags that were given, by name, in the order of the table.
type GivenFlags = BTreeMap<&'static str, Vec<String>>;

fn bad(flag: &str, value: &str, message: impl Into<String>) -> ConfigError {
    let name = FLAGS.iter().find(|(name, ..)| *name == flag).map_or("coroot-node-agent", |(name, ..)| name);
    ConfigError::Flag { flag: name, value: bounded(value, 64), message: message.into() }
}

/// The flag with this name, and whether that is its negation (`--no-disable-pinger`), which flags that stand alone have.
fn known(name: &str) -> Option<(&'static str, bool, bool)> {
    let find =
        |name: &str| FLAGS.iter().find(|(known, ..)| *known == name).map(|(name, alone, _)| (*name, *alone));
    find(name).map(|(name, alone)| (name, alone, false)).or_else(|| {
        let (name, alone) = find(&format!("--{}", name.strip_prefix("--no-")?))?;
        alone.then_some((name, alone, true))
    })
}

/// Reads the words of the command line. The error names the one that is no flag, or that has no value.
fn given(words: &[String]) -> Result<GivenFlags, ConfigError> {
    let mut given = GivenFlags::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, value) =
            word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        let Some((flag, alone, negated)) = known(name) else {
            let known: Vec<String> = FLAGS.iter().map(|(name, ..)| (*name).to_owned()).collect();
            // Without its value, which may be a secret.
            return Err(bad(
                "",
                name,
                format!("is not a flag of it that is known; known are {}", known.join(", ")),
            ));
        };
        let value = match value {
            Some(_) if negated => return Err(bad(flag, name, "takes no value")),
            Some(value) => value.to_owned(),
            None if alone => (!negated).to_string(),
            None => words.next().cloned().ok_or_else(|| bad(flag, "", "has no value"))?,
        };
        given.entry(flag).or_default().push(value);
    }
    Ok(given)
}

fn import(words: &[String]) -> Result<ConfigDraft, ConfigError> {
    let given = given(words)?;
    let last = |name: &str| given.get(name).and_then(|values| values.last()).map(String::as_str);
    let on = |name: &'static str| match last(name) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(bad(name, other, "is neither true nor false")),
    };
    let mut draft = ConfigDraft::default();
    for (name, alone, handling) in FLAGS {
        let Without(why) = handling else { continue };
        // What is switched off is not missed.
        if given.contains_key(name) && !(*alone && on(name)? == Some(false)) {
            draft.note(format!("`{name}` has no counterpart: {why}."));
        }
    }
    export(&mut draft, &last)?;
    cloud(&mut draft, &last)?;
    inventory(&mut draft, &last, on("--skip-systemd-system-services")?)?;
    draft.note("coroot-node-agent does not have these sources.");
    draft.put("sources.conntrack.enabled", &false);
    draft.put("sources.sockets.enabled", &false);
    draft.put("sources.containers.enabled", &true);
    containers(&mut draft, given.get("--track-public-network").map_or(&[], Vec::as_slice))?;
    draft.put("sources.containers.classic.enabled", &true);
    let unread = on("--no-parse-logs")?.or(on("--disable-log-parsing")?) == Some(true);
    draft.put("sources.logs.enabled", &!unread);
    if let Some(patterns) = last("--log-patterns-per-container") {
        draft.note("Of each severity of a log.");
        draft.put("sources.logs.patterns", &number("--log-patterns-per-container", patterns)?);
    }
    if let Some(length) = last("--max-label-length") {
        draft.note("Of the sample of a pattern; other labels are cut to 255 bytes.");
        draft.put("sources.logs.sample_length", &number("--max-label-length", length)?);
    }
    draft.put("sources.logs.classic.enabled", &!unread);
    draft.put("sources.node.enabled", &true);
    check(&draft, &last)?;
    Ok(draft)
}

/// What is printed can be loaded. The error names the flag whose value cannot.
fn check<'a>(draft: &ConfigDraft, last: &impl Fn(&str) -> Option<&'a str>) -> Result<(), ConfigError> {
    let Err(error) = Config::parse(&draft.text, Path::new(TOOL.name)) else { return Ok(()) };
    let ConfigError::File { key, message, .. } = &error else { return Err(error) };
    let of = |name: &&'static str, set: &str| Some((*name, last(name).filter(|_| key.starts_with(set))?));
    let found = FLAGS.iter().find_map(|(name, _, handling)| match handling {
        Set(set) => of(name, set),
        Without(_) => None,
    });
    match found {
        Some((flag, value)) => Err(bad(flag, value, message.as_str())),
        None => Err(error),
    }
}

fn number(flag: &'static str, text: &str) -> Result<u32, ConfigError> {
    text.parse().map_err(|_| bad(flag, text, "is not a number"))
}

fn export<'a>(draft: &mut ConfigDraft, last: &impl Fn(&str) -> Option<&'a str>) -> Result<(), ConfigError> {
    let mut pushed = ["--metrics-endpoint", "--collector-endpoint"]
        .into_iter()
        .filter_map(|flag| Some((flag, last(flag)?)));
    let (pushed, other) = (pushed.next(), pushed.next());
    let listen = match last("--listen") {
        Some(text) => Listen::of(&[text.to_owned()]).map_err(|why| bad("--listen", text, why))?,
        None if pushed.is_some() => Address::At { host: "127.0.0.1".to_owned(), port: 10300 }.into(),
        None => Address::At { host: "0.0.0.0".to_owned(), port: 80 }.into(),
    };
    draft.note("A port below 1024 takes CAP_NET_BIND_SERVICE.");
    draft.put("export.prometheus.listen", &listen);
    draft.put("export.prometheus.naming", &Profile::Classic);
    let Some((flag, url)) = pushed else {
        draft.note("coroot-node-agent does not push without a flag. Without this line connscope does.");
        draft.put("export.otlp.protocol", &Protocol::None);
        return Ok(());
    };
    draft.note(
        "coroot-node-agent pushes by Prometheus' remote write; connscope pushes by OTLP, under the names of OpenTelemetry. \
         The path is that of Prometheus; another receiver has another.",
    );
    draft.put("export.otlp.protocol", &Protocol::HttpProtobuf);
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let base = address.split("/api/v1/write").next().unwrap_or(address).trim_end_matches('/');
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    if let Some((other, _)) = other {
        draft.note(format!("`{other}` is not used beside `{flag}`."));
    }
    let taken = endpoint::check(&format!("{base}/api/v1/otlp{query}"));
    draft.put("export.otlp.endpoint", &taken.map_err(|why| bad(flag, &endpoint::shown(url), why))?);
    if let Some(interval) = last("--scrape-interval") {
        draft.put("export.otlp.interval", &interval);
    }
    if let Some(file) = last("--ca-file") {
        draft.put("export.otlp.tls.ca_file", &file);
    }
    Ok(())
}

fn cloud<'a>(draft: &mut ConfigDraft, last: &impl Fn(&str) -> Option<&'a str>) -> Result<(), ConfigError> {
    for (flag, key) in [
        ("--provider", "provider"),
        ("--region", "region"),
        ("--availability-zone", "availability_zone"),
        ("--instance-type", "instance_type"),
    ] {
        if let Some(text) = last(flag) {
            let taken = value(text).ok_or_else(|| {
                bad(flag, text, "is not a value: at most 255 letters, digits and ._:/@+=~-")
            })?;
            draft.put(&format!("resource.cloud.{key}"), &taken);
        }
    }
    Ok(())
}

fn inventory<'a>(
    draft: &mut ConfigDraft,
    last: &impl Fn(&str) -> Option<&'a str>,
    skipped: Option<bool>,
) -> Result<(), ConfigError> {
    let mut exclude: Vec<String> = Vec::new();
    if skipped != Some(false) {
        let default = Inventory::default().exclude;
        exclude.extend(
            serde_json::to_value(default)
                .ok()
                .and_then(|all| serde_json::from_value(all).ok())
                .unwrap_or(Vec::<String>::new()),
        );
    }
    for (flag, key) in [("--container-allowlist", "include"), ("--container-denylist", "exclude")] {
        let Some(text) = last(flag) else { continue };
        regex_lite::Regex::new(text).map_err(|_| bad(flag, text, "is not a regular expression"))?;
        draft.note(
            "coroot-node-agent looks for the expression anywhere in the identity; here it matches the whole.",
        );
        let expression = format!(".*({text}).*");
        if key == "include" {
            draft.put_list("inventory.include", &[expression]);
        } else {
            exclude.push(expression);
        }
    }
    if skipped == Some(false) || last("--container-denylist").is_some() {
        draft.put_list("inventory.exclude", &exclude);
    }
    Ok(())
}

fn containers(draft: &mut ConfigDraft, networks: &[String]) -> Result<(), ConfigError> {
    if networks.is_empty() {
        return Ok(());
    }
    let all = |text: &&String| matches!(text.as_str(), "0.0.0.0/0" | "::/0");
    if networks.iter().any(|text| all(&text)) {
        draft.put("sources.containers.tcp.public", &"each");
        return Ok(());
    }
    for text in networks {
        text.parse::<Network>()
            .map_err(|_| bad("--track-public-network", text, "is not a network such as 192.0.2.0/24"))?;
    }
    draft.put_list("sources.containers.tcp.networks", networks);
    Ok(())
}
