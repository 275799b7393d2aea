//! The reports of the probes: `probes`, the state and last results of each target; and `probe`, a probe on request, as
//! in `blackbox_exporter`.
//!
//! A client could use the agent as a port scanner. So `/probe` is disabled by default, probes only configured networks,
//! whatever a name or a redirect leads to, and accepts only host, kind and preset. Few run at a time.

#![expect(clippy::disallowed_methods, reason = "a page shows the age of results")]

use super::attempt::Options;
use super::discovery::file_sd;
use super::entry::TargetEntry;
use super::registry::defect;
use super::result::ProbeResult;
use super::runner::RunnerContext;
use super::state::TargetState;
use super::target::Target;
use crate::source::probes::config::kind::Protocol;
use crate::source::probes::config::{Kind, Preset, Target as Settings};
use crate::source::report::{PendingReport, Report, ReportError, ReportFuture, ReportRequest, Reports};
use crate::text::{LONGEST_ERROR, LONGEST_NAME, bounded};
use crate::url::{Url, host_port};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub mod blackbox;

/// Maximum number of concurrent probes on request.
const MAX_CONCURRENT: usize = 16;

/// Maximum number of targets in a report; those that are down come first.
const MAX_TARGETS: usize = 1000;

/// Maximum length of a line: the time and fault of a result, or the address of a target, bytes.
const LINE: usize = LONGEST_ERROR + LONGEST_NAME;

/// Time reserved for the scrape besides the probe, as in `blackbox_exporter`.
const OFFSET: Duration = Duration::from_millis(500);

/// Reports of the probes: `/probes` and `/probe`.
#[derive(Debug)]
pub struct ProbeReports {
    common: Arc<RunnerContext>,
    runtime: Handle,
    permits: Arc<Semaphore>,
}

impl ProbeReports {
    /// Creates the reports. Probes run on the runtime of the probes, not on the caller's.
    pub fn new(common: Arc<RunnerContext>, runtime: Handle) -> Self {
        Self { common, runtime, permits: Arc::new(Semaphore::new(MAX_CONCURRENT)) }
    }

    fn on_request(&self, asked: &ReportRequest) -> ReportFuture {
        let ready = self.wanted(asked);
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let (common, runtime) = (Arc::clone(&self.common), self.runtime.clone());
        Box::pin(async move {
            let ProbeRequest { target, debug } = ready?;
            let Ok(permit) = permit else {
                let why = format!("{MAX_CONCURRENT} probes on request are already in progress");
                return Err(ReportError::Unavailable(why));
            };
            let probed = runtime.spawn(async move {
                let networks = &common.settings.on_request.networks;
                let options = Options { allowed: Some(networks), notes: debug, ..Options::default() };
                let result = target.probe(&common.resolver, options).await;
                drop(permit);
                (target, result)
            });
            match probed.await {
                Ok((target, result)) => match result.fault.as_ref().filter(|fault| fault.local) {
                    Some(fault) => {
                        let why = format!(
                            "not probed, the agent lacks a permission or resource: {}",
                            fault.message
                        );
                        Err(ReportError::Unavailable(why))
                    }
                    None => Ok(measured(&target, result, debug)),
                },
                Err(error) if error.is_panic() => {
                    Err(ReportError::Defect(format!("the probe panicked: {}", defect("probing on request"))))
                }
                Err(_) => Err(ReportError::Unavailable("the source ends; ask again".to_owned())),
            }
        })
    }

    fn wanted(&self, asked: &ReportRequest) -> Result<ProbeRequest, ReportError> {
        let settings = &self.common.settings;
        if !settings.on_request.enabled {
            let how = "probes on request are off; sources.probes.on_request switches them on";
            return Err(ReportError::Missing(how.to_owned()));
        }
        let bad = ReportError::Invalid;
        let mut query = Query::read(&asked.parameters).map_err(bad)?;
        if query.kind.protocol() == Protocol::Unix {
            return Err(bad("sockets of this machine are not probed on request".to_owned()));
        }
        let mut wanted = file_sd::parse_target(&query.target, query.kind).map_err(bad)?;
        wanted.name = std::mem::take(&mut query.target);
        wanted.preset = query.preset;
        if let Some(hostname) = query.hostname {
            let named = Url::parse(&format!("http://{hostname}"));
            if named.is_err() || hostname.contains(['/', '?', '#', '@']) {
                return Err(bad("hostname is neither a host name nor HOST:PORT".to_owned()));
            }
            match query.kind.protocol() {
                Protocol::Http => {
                    wanted.http.headers.insert("Host".to_owned(), hostname);
                }
                Protocol::Tls => wanted.tls.server_name = hostname,
                _ => return Err(bad("hostname requires kind=http or kind=tls".to_owned())),
            }
        }
        // A short time-out is halved.
        let left = asked.timeout.map(|timeout| timeout.saturating_sub(OFFSET).max(timeout / 2));
        let most = [Some(settings.timeout), query.timeout, left].into_iter().flatten().min();
        wanted.timeout = most;
        let target = Target::new(&Arc::new(wanted), settings).map_err(bad)?;
        Ok(ProbeRequest { target, debug: query.debug })
    }
}

impl Reports for ProbeReports {
    fn names(&self) -> &'static [&'static str] {
        if self.common.settings.on_request.enabled { &["probes", "probe"] } else { &["probes"] }
    }

    fn report(&self, request: &ReportRequest) -> Option<PendingReport> {
        match request.name.as_str() {
            "probe" => Some(PendingReport::Wait(self.on_request(request))),
            "probes" => {
                let (common, parameters) = (Arc::clone(&self.common), request.parameters.clone());
                Some(PendingReport::Work(Box::new(move || known(&common, &parameters))))
            }
            _ => None,
        }
    }
}

fn known(common: &RunnerContext, parameters: &[(String, String)]) -> Result<Report, ReportError> {
    let name = parameters.iter().find(|(key, _)| key == "target").map(|(_, value)| value);
    let entries = common.registry.entries();
    let now = SystemTime::now();
    let mut page = String::new();
    if let Some(name) = name {
        for entry in entries.iter().filter(|entry| entry.target.settings.name == *name) {
            history(&mut page, entry, now);
        }
        return if page.is_empty() {
            Err(ReportError::Missing(format!("there is no target `{}`", bounded(name, LONGEST_NAME))))
        } else {
            Ok(Report::Text(page))
        };
    }
    let mut lines: Vec<((u8, &str), &Settings, &TargetEntry)> =
        entries.iter().map(|entry| (order(&entry.states()), &*entry.target.settings, &**entry)).collect();
    // Only those that are shown are formatted: there may be ten times as many.
    lines.sort_by_key(|(order, settings, _)| (*order, settings.kind.word(), settings.name.as_str()));
    let down = lines.iter().filter(|((order, _), ..)| *order == 0).count();
    let _infallible = writeln!(
        page,
        "{} targets, {down} of them down; /probes?target=NAME has the last probes of one\n",
        lines.len()
    );
    for ((_, word), _, entry) in lines.iter().take(MAX_TARGETS) {
        page.push_str(&line(word, entry, now));
    }
    if lines.len() > MAX_TARGETS {
        let _infallible = writeln!(page, "and {} more", lines.len() - MAX_TARGETS);
    }
    Ok(Report::Text(page))
}

struct ProbeRequest {
    target: Target,
    debug: bool,
}

/// The parameters of `/probe`.
struct Query {
    target: String,
    kind: Kind,
    preset: Option<Preset>,
    timeout: Option<Duration>,
    /// The `Host` header of an HTTP request, and the name of the certificate.
    hostname: Option<String>,
    debug: bool,
}

impl Query {
    fn read(parameters: &[(String, String)]) -> Result<Self, String> {
        let mut read = Self {
            target: String::new(),
            kind: Kind::Tcp,
            preset: None,
            timeout: None,
            hostname: None,
            debug: false,
        };
        for (key, value) in parameters {
            match key.as_str() {
                "target" => read.target.clone_from(value),
                "kind" => {
                    read.kind = Kind::of(value).ok_or_else(|| format!("`{value}` is not a kind of probe"))?;
                }
                "module" => read.kind = module(value)?,
                "preset" => {
                    let preset = serde_json::from_value(value.as_str().into());
                    read.preset = Some(preset.map_err(|_| format!("`{value}` is not a preset"))?);
                }
                "timeout" => {
                    let range = crate::source::probes::config::TIMEOUT;
                    let timeout = crate::settings::values::duration(value, range);
                    read.timeout = Some(timeout.map_err(|why| format!("timeout: `{value}` {why}"))?);
                }
                "hostname" => read.hostname = Some(value.clone()),
                "debug" => read.debug = value == "true",
                _ => {
                    return Err(format!("`{key}` is none of target, kind, preset, timeout, hostname, debug"));
                }
            }
        }
        if read.target.is_empty() {
            return Err("says no target: /probe?target=HOST:PORT&kind=tcp".to_owned());
        }
        Ok(read)
    }
}

/// The default modules of `blackbox_exporter` that are equivalent to a kind.
fn module(word: &str) -> Result<Kind, String> {
    match word {
        "tcp_connect" => Ok(Kind::Tcp),
        "http_2xx" => Ok(Kind::Http),
        "icmp" => Ok(Kind::Icmp),
        _ => Err(format!("there is no module `{word}`; kind says how it is probed")),
    }
}

fn measured(target: &Target, result: ProbeResult, debug: bool) -> Report {
    let gauges = blackbox::gauges(target, &result);
    let notes = debug.then(|| result.notes.unwrap_or_default());
    Report::Gauges { gauges, notes }
}

/// The place of a target with these states, and the word for them: targets that are down first, then those not probed
/// yet.
fn order(states: &[TargetState]) -> (u8, &'static str) {
    match TargetEntry::up(states) {
        Some(false) => (0, "down"),
        None => (1, "unknown"),
        Some(true) => (2, "up"),
    }
}

/// The line of a target.
fn line(word: &str, entry: &TargetEntry, now: SystemTime) -> String {
    let settings = &entry.target.settings;
    let states = entry.states();
    let last = states.iter().filter_map(|state| state.history.back()).max_by_key(|past| past.began);
    let last = last.map(|past| past.describe(now)).unwrap_or_default();
    format!("{word:8} {:10} {}  {}\n", settings.kind.word(), called(settings), bounded(&last, LINE))
}

fn history(page: &mut String, entry: &TargetEntry, now: SystemTime) {
    let settings = &entry.target.settings;
    if entry.states().is_empty() {
        let _infallible = writeln!(page, "{} {}: not probed yet", settings.kind.word(), called(settings));
    }
    for state in &*entry.states() {
        let word = state.up.map_or("unknown", |up| if up { "up" } else { "down" });
        let address = state.address.map(|address| format!(" {address}")).unwrap_or_default();
        let _infallible = writeln!(page, "{} {}{address}: {word}", settings.kind.word(), called(settings));
        for past in state.history.iter().rev() {
            let _infallible = writeln!(page, "  {}", bounded(&past.describe(now), LINE));
        }
    }
}

/// The name and address of a target. The query of a URL may be secret.
fn called(settings: &Settings) -> String {
    let server = match (settings.kind.protocol(), settings.server()) {
        (Protocol::Http, _) => settings.url.split(['?', '#']).next().unwrap_or_default().to_owned(),
        (_, (host, Some(port))) => host_port(&host, port),
        (_, (host, None)) => host,
    };
    format!("{} {}", bounded(&settings.name, LONGEST_NAME), bounded(&server, LINE))
}
