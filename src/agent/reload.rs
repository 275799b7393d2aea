//! Reload of the configuration.
//!
//! The new configuration is loaded and validated, and everything that it needs is created, before anything of the old
//! one ends. A source with unchanged settings keeps running with its state. A reader keeps running if neither its
//! settings nor the rows and limits of the table changed. Settings that need a restart are named, and keep their old values.

#![expect(
    clippy::disallowed_methods,
    reason = "the time of the last reload is a metric; a history begins now"
)]

use super::readers::{self, Prepared, Push};
use super::{AgentError, exports_nothing, startable, table};
use crate::catalog::{Config, SOURCES};
use crate::config::{Export, Listen, Protocol, load};
use crate::cycle::Sources;
use crate::cycle::set::{SourceDependencies, SourceSet};
use crate::export::otlp;
use crate::export::outcomes::Exports;
use crate::export::prometheus::Pull;
use crate::export::{Shared, resource};
use crate::history::History;
use crate::host::Host;
use crate::reading::chain;
use crate::self_metrics::{ConfigLoadStatus, SelfMetrics};
use crate::source::{Mode, list, same};
use crate::stop::Stop;
use crate::web::lifecycle::Reloaded;
use crate::web::{Current, Web};
use opentelemetry_sdk::Resource;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;

/// Reason for the end of a reload that met a defect, which the panic hook logs.
pub(super) const PANICKED: &str = "the reload panicked; the log says more";

/// Loads the configuration from the same file, variables and flags as at the start.
pub type Load = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// What the process was given at its start.
pub(super) struct Given {
    pub(super) load: Load,
    /// Names of the sockets that the service manager has passed.
    pub(super) handed_over: Vec<String>,
    /// The resource without the cloud, as it was then.
    pub(super) resource: Resource,
}

/// The running configuration, and what is needed to replace it.
pub(super) struct Reloader {
    pub(super) given: Given,
    pub(super) host: Host,
    pub(super) shared: Shared,
    pub(super) loads: Arc<ConfigLoadStatus>,
    pub(super) web: Option<Arc<Web>>,
    pub(super) runtime: Handle,
    pub(super) stop: Stop,
    /// Ends the agent with this message.
    pub(super) failed: UnboundedSender<String>,
    pub(super) running: Mutex<Option<ActiveConfig>>,
}

/// The running parts that depend on the configuration.
pub(super) struct ActiveConfig {
    pub(super) config: Config,
    pub(super) exports: Arc<Exports>,
    pub(super) push: Push,
    pub(super) pull: Option<Arc<Pull>>,
}

/// Metrics of the parts of the agent itself.
pub(super) fn self_metrics(
    config: &Config,
    exports: &Arc<Exports>,
    loads: &Arc<ConfigLoadStatus>,
) -> Vec<Arc<dyn SelfMetrics>> {
    let exports = readers::pushes(config).then(|| Arc::clone(exports) as Arc<dyn SelfMetrics>);
    exports.into_iter().chain([Arc::clone(loads) as Arc<dyn SelfMetrics>]).collect()
}

/// The part of the endpoint that depends on the configuration.
pub(super) fn current(config: &Config, pull: Option<Arc<Pull>>) -> Current {
    let otlp = &config.export.otlp;
    let interval = readers::pushes(config).then(|| otlp.interval.max(otlp.longest_wait()));
    let collecting = interval.is_some() || (config.environment.console && !config.environment.disabled);
    Current::new(pull, interval, &config.export.prometheus).collecting(collecting.then_some(otlp.interval))
}

/// Begins or ends the history that the page shows; one that is there goes on.
#[expect(clippy::cast_possible_truncation, reason = "nanoseconds since 1970 fit until 2554")]
pub(super) fn record_history(config: &Config, sources: &Sources, listening: bool) {
    if !(listening && config.export.prometheus.page) {
        sources.record(None);
    } else if sources.history().is_none() {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        sources.record(Some(Arc::new(History::new(Instant::now(), since.as_nanos() as u64))));
    }
}

impl Reloader {
    /// Takes the running configuration, to end it.
    pub(super) fn take(&self) -> Option<ActiveConfig> {
        self.running().take()
    }

    fn running(&self) -> MutexGuard<'_, Option<ActiveConfig>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads the configuration and applies it; the error is the reason why the old one stays. Blocks while files are read, names
    /// are looked up, sources start and a push ends.
    pub(super) fn reload(&self) -> Reloaded {
        let attempt = catch_unwind(AssertUnwindSafe(|| self.attempt()));
        let outcome = attempt.unwrap_or_else(|_| Some(Err(PANICKED.to_owned())));
        let Some(outcome) = outcome else { return Err("the agent is stopping".to_owned()) };
        self.loads.note(outcome.is_ok(), SystemTime::now());
        match &outcome {
            Ok(what) => tracing::info!("the configuration was reloaded: {what}"),
            Err(why) => {
                tracing::error!("the configuration is refused, the previous one stays in effect: {why}");
            }
        }
        crate::sys::process::give_memory_back();
        outcome
    }

    /// `None` if the agent is stopping. Reading and looking up, which may wait for others, leave the running configuration free,
    /// so that a stop can end it with its last export.
    fn attempt(&self) -> Option<Reloaded> {
        let old = self.running().as_ref()?.config.clone();
        if let Some(Err(error)) = old.file.as_deref().map(load::refuse_pipe) {
            return Some(Err(chain(&error)));
        }
        let new = (self.given.load)().and_then(|new| {
            startable::refuses(&old, &new, &self.given.handed_over, &self.runtime, &self.stop)
                .map_err(|error| chain(&error))
                .map(|()| new)
        });
        if self.stop.draining() {
            return None;
        }
        let mut running = self.running();
        let running = running.as_mut()?;
        Some(new.and_then(|new| self.replace(running, new)))
    }

    fn replace(&self, running: &mut ActiveConfig, mut new: Config) -> Reloaded {
        let fixed = reset_fixed(&running.config, &self.given.resource, &mut new);
        if let Some(why) = exports_nothing(&new) {
            return Err(format!("without a restart {why}"));
        }
        let changed = changes(&running.config, &new);
        if !changed.is_empty() {
            // Whoever writes a file in place empties it first; a configuration of defaults would push to localhost.
            if let Some(file) = new.file.as_ref().filter(|file| is_empty(file)) {
                return Err(format!("{}: it is empty; write it elsewhere and rename it", file.display()));
            }
            self.apply(running, &new).map_err(|error| chain(&error))?;
            running.config = new;
        }
        let mut what = if changed.is_empty() {
            "nothing has changed".to_owned()
        } else {
            format!("changed {}", changed.join(", "))
        };
        if !fixed.is_empty() {
            what.push_str("; takes effect after a restart: ");
            what.push_str(&fixed.join(", "));
        }
        Ok(what)
    }

    /// Creates the new parts; from then on nothing is undone.
    fn apply(&self, running: &mut ActiveConfig, new: &Config) -> Result<(), AgentError> {
        let old = &running.config;
        let sources = &self.shared.sources;
        let table = table(new, &self.host)?;
        let rows = readers::other_rows(sources, &table);
        let push = rows || !same(&old.export.otlp, &new.export.otlp);
        let pull = rows || push || !same(&old.export.prometheus.naming, &new.export.prometheus.naming);
        let exports = if otlp::labels(&old.export.otlp) == otlp::labels(&new.export.otlp) {
            Arc::clone(&running.exports)
        } else {
            Arc::new(Exports::new(otlp::labels(&new.export.otlp)))
        };
        let prepared = push
            .then(|| Prepared::new(new, &self.shared, &exports, &self.runtime, &self.stop))
            .transpose()?;
        let now = sources.set();
        let dependencies = SourceDependencies {
            host: &self.host,
            mode: Mode::Run,
            table,
            self_metrics: self_metrics(new, &exports, &self.loads),
            stop: &self.stop,
        };
        let set = SourceSet::start(SOURCES, &new.sources, dependencies, |spec| {
            (spec.same)(&old.sources, &new.sources).then(|| now.worker(spec.name)).flatten()
        });
        let set = set.map_err(|error| AgentError::Failed(chain(&error)))?;
        drop(now);
        self.or_end(|| self.commit(running, new, exports, prepared, pull, set));
        Ok(())
    }

    /// Does what is not undone. If it fails or panics, the agent ends: as at the start, it is of no use without its readers.
    fn or_end(&self, done: impl FnOnce() -> Result<(), AgentError>) {
        let done = catch_unwind(AssertUnwindSafe(done));
        if let Err(error) = done.unwrap_or_else(|_| Err(AgentError::Failed(PANICKED.to_owned()))) {
            let _ending_already = self.failed.send(chain(&error));
        }
    }

    /// Replaces the old parts, and ends those.
    fn commit(
        &self,
        running: &mut ActiveConfig,
        new: &Config,
        exports: Arc<Exports>,
        prepared: Option<Prepared>,
        pull: bool,
        set: SourceSet,
    ) -> Result<(), AgentError> {
        let sources = &self.shared.sources;
        // The last cycle of a push is read from the sources and within the limits that it was made for.
        let prepared = prepared.map(|prepared| {
            let goes_on = same(&running.config.export.otlp, &new.export.otlp);
            let next = running.push.next().filter(|_| goes_on);
            running.push.hand_over();
            if receiver(&running.config) != receiver(new) {
                sources.health.push_replaced();
            }
            (prepared, next)
        });
        record_history(new, sources, self.web.is_some());
        sources.replace(set);
        running.exports = exports;
        self.replace_readers(running, new, prepared, pull)?;
        for warning in list::without_effect(SOURCES, &new.sources, new.export.prometheus.naming) {
            tracing::warn!("{warning}");
        }
        Ok(())
    }

    /// Starts the push that is prepared, whose first is due at the given time if that is known, and replaces the reader for scrapes if
    /// `pull`. An error means that the system has no room for them.
    fn replace_readers(
        &self,
        running: &mut ActiveConfig,
        new: &Config,
        prepared: Option<(Prepared, Option<Instant>)>,
        pull: bool,
    ) -> Result<(), AgentError> {
        let pushes = prepared.is_some();
        if let Some((prepared, next)) = prepared {
            let due = readers::due_after(&new.export.otlp, next, Instant::now());
            running.push = prepared.start(new, &self.shared, due);
        }
        if pull {
            running.pull = readers::pull(new, &self.shared, self.web.is_some(), &running.push)?;
        }
        if let Some(web) = &self.web {
            web.replace(current(new, running.pull.clone()));
        }
        if pushes {
            let (pull, sources) = (running.pull.is_some(), &self.shared.sources);
            readers::first_cycle(&running.push, pull, sources, self.failed.clone())?;
        }
        Ok(())
    }
}

/// Where this configuration pushes, and by which protocol, if it does.
fn receiver(config: &Config) -> (Protocol, Option<&str>) {
    (config.export.otlp.protocol, config.export.otlp.endpoint.as_deref())
}

/// Resets settings that need a restart to their old values; `attributes` are those of the resource at the start. Returns the keys
/// that differ.
fn reset_fixed(old: &Config, attributes: &Resource, new: &mut Config) -> Vec<&'static str> {
    let mut fixed = Vec::new();
    let mut keep = |differs: bool, key: &'static str| {
        if differs {
            fixed.push(key);
        }
    };
    let listen: &Listen = &old.export.prometheus.listen;
    keep(new.export.prometheus.listen != *listen, "export.prometheus.listen");
    let mode = old.export.prometheus.socket_mode;
    keep(new.export.prometheus.socket_mode != mode, "export.prometheus.socket_mode");
    let file = &old.export.prometheus.web_config;
    keep(new.export.prometheus.web_config != *file, "export.prometheus.web_config");
    keep(!same(&old.inventory, &new.inventory), "inventory");
    keep(!same(&old.resource, &new.resource), "resource");
    keep(!same(&old.log, &new.log), "log");
    // The host may have another name.
    keep(resource::resource(new) != *attributes, "the attributes of the resource");
    new.export.prometheus.listen = listen.clone();
    new.export.prometheus.socket_mode = mode;
    new.export.prometheus.web_config.clone_from(file);
    new.inventory = old.inventory.clone();
    new.resource = old.resource.clone();
    new.log = old.log;
    new.environment = old.environment.clone();
    fixed
}

/// The sections that differ.
fn changes(old: &Config, new: &Config) -> Vec<String> {
    let Export { otlp, prometheus } = &old.export;
    let mut changed = Vec::new();
    if !same(otlp, &new.export.otlp) {
        changed.push("export.otlp".to_owned());
    }
    if !same(prometheus, &new.export.prometheus) {
        changed.push("export.prometheus".to_owned());
    }
    let sources = SOURCES.iter().filter(|spec| !(spec.same)(&old.sources, &new.sources));
    changed.extend(sources.map(|spec| format!("sources.{}", spec.name)));
    changed
}

fn is_empty(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| metadata.len() == 0)
}

#[cfg(test)]
mod tests;
