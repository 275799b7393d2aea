//! Logs of containers and services: volume, messages by severity, recurring patterns. No line leaves the machine.
//!
//! A thread of its own follows the files (`reader`, `follow`); `read` tells what was counted and never waits for a file.
//! From bytes to counts: lines (`lines`), records of an engine (`frame`), their parts joined for each stream (`stream`),
//! lines joined into messages (`message`), their severity (`severity`), recurring patterns (`pattern`), and the counts with
//! their bounds (`counts`).

use super::{Check, Mode, Requirement, Source, SourceKind};
use crate::host::Host;
use crate::host::inventory::Inventory;
use crate::host::machine;
use crate::metric::naming::Profile;
use crate::metric::{Bounds, Label, Part};
use crate::reading::{Readings, SourceError};
use crate::source::logs::config::Logs as Settings;
use crate::stop::Stop;
use labels::LogSource;
use reader::{Reader, Shared};
use severity::Severity;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

mod check;
pub mod classic;
pub mod clean;
pub mod config;
pub mod count;
pub mod counts;
mod find;
pub mod follow;
pub mod frame;
pub mod journal;
pub mod labels;
pub mod lines;
pub mod message;
pub mod metrics;
mod observe;
pub mod pattern;
mod reader;
pub mod severity;
pub mod stream;
mod watch;

/// Key in the configuration, label value, field in the log.
pub const NAME: &str = "logs";

impl SourceKind for Logs {
    type Settings = Settings;
    const NAME: &'static str = NAME;
    const PART: &'static Part = &metrics::PART;
    const REQUIREMENTS: &'static [Requirement] = check::REQUIREMENTS;

    fn enabled(settings: &Settings) -> bool {
        settings.enabled
    }

    fn deadline(settings: &Settings, _: Mode) -> Duration {
        settings.timeout
    }

    fn bounds(settings: &Settings, host: &Host) -> Bounds {
        let containers = host.container_limit();
        let files = if let config::Files::Paths(_) = settings.files { settings.max_files } else { 0 };
        let rest = 2 * Severity::ALL.len() * (containers + files);
        let logs = LogSource::ALL.len() * containers + settings.max_files;
        let classic = if settings.classic.enabled {
            settings.patterns_total + 3 * Severity::ALL.len() * logs
        } else {
            0
        };
        vec![
            (&labels::CLASSIC, classic),
            (&labels::WORKLOAD, containers + files),
            (&labels::LOG, LogSource::ALL.len() * containers + files),
            (&labels::PATTERN, settings.patterns_total + rest),
            (&labels::PATTERN_INFO, settings.patterns_total),
        ]
    }

    fn build(settings: &Settings, host: &Host, _: Mode, stop: &Stop) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(Self::start(settings, &host.inventory(), stop)?))
    }

    fn check(settings: &Settings, host: &Host, _: &Stop) -> Vec<Check> {
        check::check(settings, &host.inventory())
    }

    fn without_effect(settings: &Settings, naming: Profile) -> Vec<String> {
        super::classic_without_effect(NAME, settings.classic.enabled, naming)
    }

    fn suffices(_: &Settings, checks: &[Check]) -> bool {
        check::suffices(checks)
    }
}

/// The source.
pub struct Logs {
    settings: Settings,
    inventory: Arc<Inventory>,
    /// The id of the machine, where messages are counted under the labels of coroot-node-agent.
    machine: Option<Arc<str>>,
    shared: Arc<Mutex<Shared>>,
    thread: JoinHandle<()>,
}

impl Logs {
    /// Goes to the end of every log there is, and begins to read what comes after it.
    pub fn start(settings: &Settings, inventory: &Arc<Inventory>, stop: &Stop) -> Result<Self, SourceError> {
        let settings = &Settings { max_files: reader::room(settings.max_files), ..settings.clone() };
        let machine = settings.classic.enabled.then(|| machine::id(&inventory.settings().root));
        let shared = Shared::new(settings);
        let reader = Reader::new(settings, inventory, &shared);
        let watch = reader.watch();
        let spawn = |name: &str, run: Box<dyn FnOnce(&Stop) + Send>| {
            let stop = stop.clone();
            let thread = std::thread::Builder::new().name(name.to_owned());
            let thread = thread.spawn(move || run(&stop));
            thread.map_err(|cause| SourceError::io(format!("starting the thread {name}"), cause))
        };
        spawn("logs-watch", Box::new(move |stop| watch.run(stop)))?;
        let thread = spawn("logs-reader", Box::new(move |stop| reader.run(stop)))?;
        Ok(Self { settings: settings.clone(), inventory: Arc::clone(inventory), machine, shared, thread })
    }
}

impl Source for Logs {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        if self.thread.is_finished() {
            return Err(SourceError::Panicked { message: "the thread that reads logs has ended".to_owned() });
        }
        let mut shared = Shared::of(&self.shared);
        let machine = self.machine.as_ref();
        observe::observe(&mut shared.counts, &self.inventory, self.settings.sample, machine, out);
        for source in LogSource::ALL {
            let files = shared.files.get(source).copied().unwrap_or_default();
            out.observe(metrics::CONNSCOPE_LOGS_FILES, &[(Label::LogSource, source.word().into())], files);
        }
        out.observe(metrics::CONNSCOPE_LOGS_LAG, &[], shared.lag);
        if let Some((path, error, count)) = &shared.closed {
            let doing = format!("opening {count} of the logs, such as {}", path.display());
            let error = std::io::Error::new(error.kind(), error.to_string());
            out.fail("files", SourceError::from_io(doing, check::CAPABILITY, error));
        }
        if let Some(error) = &shared.journal {
            out.fail("journald", error.again("reading the journal"));
        }
        if let Some(error) = self.inventory.denied().filter(|_| self.settings.docker || self.settings.cri) {
            out.fail("names", error);
        }
        if let Some(error) = &shared.without {
            out.fail("containers", error.again("looking for containers, whose logs are not read"));
        }
        Ok(())
    }
}
