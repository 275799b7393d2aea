//! Where the readings come from: a running agent, or the sources themselves.

#![expect(clippy::disallowed_methods, reason = "rates are over the time between two readings")]

use super::exposition::{Exposition, MOST_SERIES, Names, parse};
use super::history::Frame;
use crate::agent;
use crate::cli::ask::AgentClient;
use crate::cli::status;
use crate::cycle::Sources;
use crate::export::prometheus::{Pull, Scrape};
use crate::stop::Stop;
use crate::text;
use crate::web::state::{self, SourceStatus, Status};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant, SystemTime};

/// Maximum size of the metrics of an agent, in bytes.
const MOST_BYTES: usize = 32 << 20;

/// Where the readings come from.
pub(super) enum Origin {
    /// A running agent.
    Agent(Box<AgentClient>),
    /// The sources, read by this process.
    Sources(Box<Pull>, Arc<Sources>),
}

impl Origin {
    /// For people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Agent(agent) => agent.shown(),
            Self::Sources(..) => "this machine, without an agent".to_owned(),
        }
    }

    /// Reads once. The error is a sentence for people.
    fn read(&self, names: &Names) -> Result<Frame, String> {
        match self {
            Self::Agent(agent) => asked(agent, names)
                .map_err(|why| clean(&format!("asking {}: {why}; trying again", agent.shown()))),
            Self::Sources(pull, sources) => Ok(collected(pull, sources, names)),
        }
    }
}

/// Reads every `interval` on a thread of its own until `stop`. A reading that takes longer delays the next.
pub(super) fn start(
    origin: Origin,
    interval: Duration,
    stop: &Stop,
) -> io::Result<Receiver<Result<Frame, String>>> {
    let (sender, readings) = sync_channel(1);
    let stop = stop.clone();
    let read = move || {
        let names = Names::of(&agent::parts());
        loop {
            let began = Instant::now();
            let reading = origin.read(&names);
            if sender.send(reading).is_err() || stop.killed_within(interval.saturating_sub(began.elapsed())) {
                return;
            }
        }
    };
    std::thread::Builder::new().name("readings".to_owned()).spawn(read)?;
    Ok(readings)
}

fn clean(text: &str) -> String {
    text::bounded(text, text::LONGEST_ERROR)
}

fn asked(agent: &AgentClient, names: &Names) -> Result<Frame, String> {
    let (exposition, at, why) = match agent.get_up_to("/metrics", MOST_BYTES)? {
        (200, text) => (parse(&text, names, MOST_SERIES), Instant::now(), None),
        // The sources say why.
        (503, body) => (Exposition::default(), Instant::now(), Some(status::first_line(&body))),
        (code, body) => return Err(status::refused(agent, code, &body)),
    };
    let Status { version, sources, mut warnings, .. } = status::of(agent)?;
    if let Some(why) = why {
        warnings.insert(0, why);
    }
    let sources = sources.iter().map(cleaned).collect();
    let warnings = warnings.iter().map(|warning| clean(warning)).collect();
    Ok(Frame { at, clock: SystemTime::now(), version: clean(&version), exposition, sources, warnings })
}

fn cleaned(status: &SourceStatus) -> SourceStatus {
    SourceStatus {
        source: text::bounded(&status.source, text::LONGEST_NAME),
        state: text::bounded(&status.state, text::LONGEST_NAME),
        last_success_seconds: status.last_success_seconds,
        series: status.series,
        warnings: status.warnings.iter().map(|warning| clean(warning)).collect(),
    }
}

fn collected(pull: &Pull, sources: &Sources, names: &Names) -> Frame {
    let (exposition, warnings) = match pull.scrape() {
        Scrape::Exposition(text) => (parse(&text, names, MOST_SERIES), Vec::new()),
        Scrape::Nothing(why) => (Exposition::default(), vec![status::first_line(&why)]),
    };
    Frame {
        at: Instant::now(),
        clock: SystemTime::now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        exposition,
        sources: state::source_statuses(sources).iter().map(cleaned).collect(),
        warnings,
    }
}
