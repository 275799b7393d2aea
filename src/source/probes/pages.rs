//! Two pages of the HTTP endpoint: `/probes`, what is known of each target and how its last probes ended; and `/probe`, a
//! probe on request, as `blackbox_exporter` has it.
//!
//! Whoever reaches the endpoint could make the agent look for open ports: so `/probe` is off until it is switched on, it
//! probes configured networks only, whatever a name or a redirect leads to, and nothing but host, kind and preset can be
//! asked for. A few run at a time.

use super::attempt::Run;
use super::discovery::file_sd;
use super::entry::Entry;
use super::registry::defect;
use super::runner::Common;
use super::target::Target;
use crate::config::probes::kind::Protocol;
use crate::config::probes::{Kind, Preset, Target as Settings};
use crate::source::{Answering, Asked, Page, Pages as Answers};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub mod exposition;

/// Probes on request at a time.
const AT_ONCE: usize = 16;

/// Targets on one page; those that are down come first.
const SHOWN: usize = 1000;

/// What a Prometheus needs besides the probe: `blackbox_exporter` leaves it as much.
const OFFSET: Duration = Duration::from_millis(500);

/// The pages.
#[derive(Debug)]
pub struct Pages {
    common: Arc<Common>,
    runtime: Handle,
    permits: Arc<Semaphore>,
}

impl Pages {
    /// Of these targets. Probes run on the runtime of the probes, not on that of the endpoint.
    pub fn new(common: Arc<Common>, runtime: Handle) -> Self {
        Self { common, runtime, permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    fn on_request(&self, asked: &Asked) -> Answering {
        let ready = self.wanted(asked);
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let (common, runtime) = (Arc::clone(&self.common), self.runtime.clone());
        Box::pin(async move {
            let Wanted { target, debug } = match ready {
                Ok(wanted) => wanted,
                Err(page) => return page,
            };
            let Ok(permit) = permit else {
                return text(503, format!("{AT_ONCE} probes on request are under way already\n"));
            };
            let probed = runtime.spawn(async move {
                let networks = &common.settings.on_request.networks;
                let run = target.attempt(&common.resolver, None, Some(networks), debug).finish().await;
                drop(permit);
                (target, run)
            });
            match probed.await {
                Ok((target, run)) => match run.fault.as_ref().filter(|fault| fault.ours) {
                    Some(fault) => {
                        text(503, format!("not probed, the agent lacks something: {}\n", fault.why))
                    }
                    None => shown(&target, &run, debug),
                },
                Err(error) if error.is_panic() => {
                    text(500, format!("the probe panicked: {}\n", defect("probing on request")))
                }
                Err(_) => text(503, "the agent is stopping\n".to_owned()),
            }
        })
    }

    fn wanted(&self, asked: &Asked) -> Result<Wanted, Page> {
        let settings = &self.common.settings;
        if !settings.on_request.enabled {
            let how = "probes on request are off; sources.probes.on_request switches them on\n";
            return Err(text(404, how.to_owned()));
        }
        let bad = |why: String| text(400, format!("{why}\n"));
        let mut query = Query::read(&asked.query).map_err(bad)?;
        if query.kind.protocol() == Protocol::Unix {
            return Err(bad("sockets of this machine are not probed on request".to_owned()));
        }
        let mut wanted = file_sd::place(&query.target, query.kind).map_err(bad)?;
        wanted.name = std::mem::take(&mut query.target);
        wanted.preset = query.preset;
        // Of half a second half is left.
        let left = asked.patience.map(|patience| patience.saturating_sub(OFFSET).max(patience / 2));
        let most = [Some(settings.timeout), query.timeout, left].into_iter().flatten().min();
        wanted.timeout = most;
        let target = Target::new(&Arc::new(wanted), settings).map_err(bad)?;
        Ok(Wanted { target, debug: query.debug })
    }

    fn known(&self, query: &str) -> Page {
        let name = pairs(query).into_iter().find(|(key, _)| key == "target").map(|(_, value)| value);
        let entries = self.common.registry.entries();
        let now = SystemTime::now();
        let mut page = String::new();
        if let Some(name) = name {
            for entry in entries.iter().filter(|entry| entry.target.settings.name == name) {
                history(&mut page, entry, now);
            }
            return if page.is_empty() {
                text(404, format!("there is no target `{}`\n", one_line(&name)))
            } else {
                text(200, page)
            };
        }
        let mut lines: Vec<(u8, String)> = entries.iter().map(|entry| line(entry, now)).collect();
        lines.sort();
        let down = lines.iter().filter(|(order, _)| *order == 0).count();
        let _infallible = writeln!(
            page,
            "{} targets, {down} of them down; /probes?target=NAME has the last probes of one\n",
            lines.len()
        );
        for (_, line) in lines.iter().take(SHOWN) {
            page.push_str(line);
        }
        if lines.len() > SHOWN {
            let _infallible = writeln!(page, "and {} more", lines.len() - SHOWN);
        }
        text(200, page)
    }
}

impl Answers for Pages {
    fn paths(&self) -> &'static [&'static str] {
        if self.common.settings.on_request.enabled { &["/probes", "/probe"] } else { &["/probes"] }
    }

    fn answer(&self, asked: &Asked) -> Option<Answering> {
        match asked.path.as_str() {
            "/probe" => Some(self.on_request(asked)),
            "/probes" => {
                let page = self.known(&asked.query);
                Some(Box::pin(std::future::ready(page)))
            }
            _ => None,
        }
    }
}

struct Wanted {
    target: Target,
    debug: bool,
}

/// What `/probe` may be asked for.
struct Query {
    target: String,
    kind: Kind,
    preset: Option<Preset>,
    timeout: Option<Duration>,
    debug: bool,
}

impl Query {
    fn read(query: &str) -> Result<Self, String> {
        let mut read =
            Self { target: String::new(), kind: Kind::Tcp, preset: None, timeout: None, debug: false };
        for (key, value) in pairs(query) {
            match key.as_str() {
                "target" => read.target = value,
                "kind" => {
                    read.kind = Kind::of(&value).ok_or_else(|| format!("`{value}` is no kind of probe"))?;
                }
                "module" => read.kind = module(&value)?,
                "preset" => {
                    let preset = serde_json::from_value(value.as_str().into());
                    read.preset = Some(preset.map_err(|_| format!("`{value}` is no preset"))?);
                }
                "timeout" => {
                    let range = crate::config::probes::TIMEOUT;
                    let timeout = crate::config::values::duration(&value, range);
                    read.timeout = Some(timeout.map_err(|why| format!("timeout: `{value}` {why}"))?);
                }
                "debug" => read.debug = value == "true",
                _ => return Err(format!("`{key}` is none of target, kind, preset, timeout, debug")),
            }
        }
        if read.target.is_empty() {
            return Err("says no target: /probe?target=HOST:PORT&kind=tcp".to_owned());
        }
        Ok(read)
    }
}

/// The modules that `blackbox_exporter`'s own configuration has and that say no more than a kind.
fn module(word: &str) -> Result<Kind, String> {
    match word {
        "tcp_connect" => Ok(Kind::Tcp),
        "http_2xx" => Ok(Kind::Http),
        "icmp" => Ok(Kind::Icmp),
        _ => Err(format!("there is no module `{word}`; kind says how it is probed")),
    }
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://x/?{query}"));
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

fn text(status: u16, text: String) -> Page {
    Page { status, text, exposition: false }
}

fn shown(target: &Target, run: &Run, debug: bool) -> Page {
    let exposition = exposition::exposition(target, run);
    if !debug {
        return Page { status: 200, text: exposition, exposition: true };
    }
    let mut page = String::new();
    for note in run.notes.iter().flatten() {
        let _infallible = writeln!(page, "{note}");
    }
    let _infallible = write!(page, "\nMetrics:\n{exposition}");
    text(200, page)
}

/// One line of a target, and its place: those that are down first, then those nothing is known of.
fn line(entry: &Entry, now: SystemTime) -> (u8, String) {
    let settings = &entry.target.settings;
    let states = entry.states();
    let (order, word) = match Entry::up(&states) {
        Some(false) => (0, "down"),
        None => (1, "unknown"),
        Some(true) => (2, "up"),
    };
    let last = states.iter().filter_map(|state| state.history.back()).max_by_key(|past| past.began);
    let last = last.map(|past| past.describe(now)).unwrap_or_default();
    (order, format!("{word:8} {:10} {}  {}\n", settings.kind.word(), called(settings), one_line(&last)))
}

fn history(page: &mut String, entry: &Entry, now: SystemTime) {
    let settings = &entry.target.settings;
    if entry.states().is_empty() {
        let _infallible = writeln!(page, "{} {}: not probed yet", settings.kind.word(), called(settings));
    }
    for state in &*entry.states() {
        let word = state.up.map_or("unknown", |up| if up { "up" } else { "down" });
        let address = state.address.map(|address| format!(" {address}")).unwrap_or_default();
        let _infallible = writeln!(page, "{} {}{address}: {word}", settings.kind.word(), called(settings));
        for past in state.history.iter().rev() {
            let _infallible = writeln!(page, "  {}", one_line(&past.describe(now)));
        }
    }
}

/// What tells it from the others: its name, and where it is. The query of a page may be secret.
fn called(settings: &Settings) -> String {
    let place = match (settings.kind.protocol(), settings.place()) {
        (Protocol::Http, _) => settings.url.split(['?', '#']).next().unwrap_or_default().to_owned(),
        (_, (host, Some(port))) if host.contains(':') => format!("[{host}]:{port}"),
        (_, (host, Some(port))) => format!("{host}:{port}"),
        (_, (host, None)) => host,
    };
    one_line(&format!("{} {place}", settings.name))
}

/// A text that leaves the line, and the terminal of whoever reads it, as they are.
fn one_line(text: &str) -> String {
    let turns = |character: char| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(|character: char| character.is_control() || turns(character), " ")
}
