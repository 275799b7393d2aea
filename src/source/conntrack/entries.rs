//! What is in the table: its entries, counted by protocol, state and other properties.
//!
//! A thread of its own dumps the tables, every [`interval`](config::Entries::interval); a cycle reports what the last dump
//! found, with its age.

use super::NAME;
use super::metrics;
use crate::host::netns::Namespace;
use crate::metric::{Label, Labels};
use crate::reading::{Readings, SourceError};
use crate::source::conntrack::config::Conntrack as Settings;
use crate::source::{Check, Mode};
use crate::stop::Stop;
use std::sync::Arc;
use std::time::Duration;
use worker::{Shared, TableState};

pub mod config;
pub mod dump;
pub mod message;
pub mod observe;
pub mod protocol;
pub mod ranges;
pub mod sketch;
pub mod snat;
pub mod spread;
pub mod tally;
pub mod top;
pub mod worker;

/// CPU time that `connscope check` takes for it.
const CHECK: Duration = Duration::from_millis(200);

/// The entries of the table, as the last dumps found them.
#[derive(Debug)]
pub struct Entries {
    shared: Arc<Shared>,
    observer: observe::Observer,
    /// How long the first dump is waited for.
    patience: Option<Duration>,
}

impl Entries {
    /// Starts the thread; `None` if it is not enabled.
    pub fn start(settings: &Settings, mode: Mode, stop: &Stop) -> Result<Option<Self>, SourceError> {
        let Settings { entries, timeout, .. } = settings;
        if !entries.enabled {
            return Ok(None);
        }
        let shared = worker::start(entries, stop)
            .map_err(|cause| SourceError::io("starting the thread that dumps the table", cause))?;
        let patience = (mode == Mode::Once).then_some(*timeout);
        Ok(Some(Self { shared, observer: observe::Observer::new(entries), patience }))
    }

    /// Observes what the last dumps found. With `once`, the first dump is waited for. `found` are the network namespaces to be
    /// read; `None` if that is the agent's own.
    pub fn observe(&mut self, found: Option<&[Namespace]>, out: &mut Readings) {
        self.shared.ask(found);
        if let Some(patience) = self.patience.take()
            && !self.shared.wait(patience)
        {
            let cause = std::io::Error::from(std::io::ErrorKind::TimedOut);
            out.fail("entries", SourceError::io("waiting for the first dump of the table", cause));
        }
        let mut results = self.shared.results();
        // A namespace that went since the last round is neither an error nor counted.
        results.keep(found);
        if let Some(error) = &results.panicked {
            out.fail("entries", error.again("dumping the table"));
        }
        for known in results.known.values() {
            let TableState { label, error, .. } = known;
            if let Some(error) = error {
                let part = label
                    .as_ref()
                    .map_or_else(|| "entries".to_owned(), |label| format!("entries of {label}"));
                out.fail(part, error.again("dumping the table"));
            }
            self.observer.dump(known, out);
        }
        self.observer.entries(&results.known, out);
        self.observer.ranked(&results.known, out);
    }
}

/// The check of the part: what a dump finds in the agent's own network namespace.
pub fn check(settings: &Settings, stop: &Stop) -> Option<Check> {
    let Settings { entries, .. } = settings;
    if !entries.enabled {
        return None;
    }
    let options = dump::Options { settings: entries, budget: CHECK, stop };
    let result = dump::dump(&options).map(|found| {
        let early = if found.share == Some(1.0) { "" } else { ", and there are more" };
        let ranges =
            found.ranges_unknown.map(|why| format!("; not every range of source NAT is known: {why}"));
        format!(
            "{} entries in {:.1} ms of CPU time{early}{}",
            found.tally.entries,
            found.cpu_time.as_secs_f64() * 1e3,
            ranges.unwrap_or_default()
        )
    });
    Some(Check::new(NAME, "entries", result))
}

/// The attribute `netns` of a namespace.
fn netns(label: Option<&Arc<str>>) -> Labels {
    Labels::new(label.map(|label| (Label::Netns, Arc::clone(label))).into_iter().collect())
}
