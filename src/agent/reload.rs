//! Reading the configuration again while the agent runs.
//!
//! The new configuration is read and validated whole, and everything that it needs is made, before anything of the old one ends.
//! A source with the same settings as before stays the same source, with all that it remembers. A reader stays where neither its
//! settings nor the limits of the table changed. What cannot change is named, and stays what it was.

#![expect(clippy::disallowed_methods, reason = "the time of a reload is a metric")]

use super::readers::{self, Prepared, Push};
use super::{AgentError, exports_nothing, startable, table};
use crate::catalog::SOURCES;
use crate::config::{Config, Export, Listen};
use crate::cycle::set::{SourceDependencies, SourceSet};
use crate::export::otlp;
use crate::export::outcomes::Exports;
use crate::export::prometheus::Pull;
use crate::export::{Shared, resource};
use crate::host::Host;
use crate::reading::chain;
use crate::self_metrics::{ConfigLoadStatus, SelfMetrics};
use crate::source::{Mode, list, same};
use crate::stop::Stop;
use crate::web::lifecycle::Reloaded;
use crate::web::{Current, Web};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;

/// Reads the configuration as it was read at the start: the same file, variables and flags.
pub type Load = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// What runs, and how to replace it.
pub(super) struct Reloader {
    pub(super) load: Load,
    pub(super) host: Host,
    pub(super) shared: Shared,
    pub(super) loads: Arc<ConfigLoadStatus>,
    pub(super) web: Option<Arc<Web>>,
    pub(super) runtime: Handle,
    pub(super) stop: Stop,
    /// Ends the agent.
    pub(super) failed: UnboundedSender<String>,
    pub(super) running: Mutex<Option<ActiveConfig>>,
}

/// What runs by the configuration.
pub(super) struct ActiveConfig {
    pub(super) config: Config,
    pub(super) exports: Arc<Exports>,
    pub(super) push: Push,
    pub(super) pull: Option<Arc<Pull>>,
}

/// The parts of the agent with numbers of their own.
pub(super) fn self_metrics(
    config: &Config,
    exports: &Arc<Exports>,
    loads: &Arc<ConfigLoadStatus>,
) -> Vec<Arc<dyn SelfMetrics>> {
    let exports = readers::pushes(config).then(|| Arc::clone(exports) as Arc<dyn SelfMetrics>);
    exports.into_iter().chain([Arc::clone(loads) as Arc<dyn SelfMetrics>]).collect()
}

/// What the endpoint answers by.
pub(super) fn current(config: &Config, pull: Option<Arc<Pull>>) -> Current {
    let otlp = &config.export.otlp;
    let interval = readers::pushes(config).then(|| otlp.interval.max(otlp.longest_wait()));
    Current::new(pull, interval, &config.export.prometheus)
}

impl Reloader {
    /// Takes what runs out, to end it.
    pub(super) fn take(&self) -> Option<ActiveConfig> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Reads the configuration and puts it into effect, or says why the old one stays. Blocks for as long as the sources take to
    /// start and a push takes to end.
    pub(super) fn reload(&self) -> Reloaded {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = running.as_mut() else { return Err("the agent is stopping".to_owned()) };
        let outcome = (self.load)().and_then(|new| self.replace(running, new));
        self.loads.note(outcome.is_ok(), SystemTime::now());
        match &outcome {
            Ok(what) => tracing::info!("the configuration was read again: {what}"),
            Err(why) => {
                tracing::error!("the configuration is refused, the previous one stays in effect: {why}");
            }
        }
        crate::sys::process::give_memory_back();
        outcome
    }

    fn replace(&self, running: &mut ActiveConfig, mut new: Config) -> Reloaded {
        startable::refuses(&running.config, &new, &self.runtime).map_err(|error| chain(&error))?;
        let fixed = keep_what_is_fixed(&running.config, &mut new);
        if let Some(why) = exports_nothing(&new) {
            return Err(why.to_owned());
        }
        let changed = changes(&running.config, &new);
        if !changed.is_empty() {
            self.put(running, &new).map_err(|error| chain(&error))?;
            running.config = new;
        }
        let mut what = if changed.is_empty() {
            "nothing has changed".to_owned()
        } else {
            format!("changed {}", changed.join(", "))
        };
        if !fixed.is_empty() {
            what.push_str("; takes a restart: ");
            what.push_str(&fixed.join(", "));
        }
        Ok(what)
    }

    /// Makes everything, then replaces, then ends what was replaced.
    fn put(&self, running: &mut ActiveConfig, new: &Config) -> Result<(), AgentError> {
        let old = &running.config;
        let sources = &self.shared.sources;
        let table = table(&list::bounds(SOURCES, &new.sources, &self.host))?;
        let limits = readers::other_limits(sources, &table);
        let push = limits || !same(&old.export.otlp, &new.export.otlp);
        let pull = limits || push || !same(&old.export.prometheus.naming, &new.export.prometheus.naming);
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
        // From here on nothing fails.
        drop(now);
        sources.replace(set);
        running.exports = exports;
        let mut replaced = None;
        if let Some(prepared) = prepared {
            let push = prepared.start(new, &self.shared);
            replaced = Some(std::mem::replace(&mut running.push, push));
        }
        if pull {
            running.pull = readers::pull(new, &self.shared, self.web.is_some(), &running.push)?;
        }
        if let Some(web) = &self.web {
            web.replace(current(new, running.pull.clone()));
        }
        if let Some(replaced) = replaced {
            replaced.give_way();
            let (wait, pull) = (readers::first_wait(new), running.pull.as_ref());
            readers::first_cycle(&running.push, wait, pull, sources, self.failed.clone())?;
        }
        for warning in list::without_effect(SOURCES, &new.sources, new.export.prometheus.naming) {
            tracing::warn!("{warning}");
        }
        Ok(())
    }
}

/// Puts what cannot change back to what it was; the keys that said something else.
fn keep_what_is_fixed(old: &Config, new: &mut Config) -> Vec<&'static str> {
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
    keep(resource::resource(old) != resource::resource(new), "the attributes of the resource");
    new.export.prometheus.listen = listen.clone();
    new.export.prometheus.socket_mode = mode;
    new.export.prometheus.web_config.clone_from(file);
    new.inventory = old.inventory.clone();
    new.resource = old.resource.clone();
    new.log = old.log;
    new.environment = old.environment.clone();
    fixed
}

/// The sections that say something else.
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
