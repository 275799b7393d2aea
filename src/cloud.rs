//! The cloud that the machine is in: which one it is, and what its metadata service says of the machine.
//!
//! Which cloud it is say files of the firmware and the hypervisor (`dmi`), without a packet: where they name none, nothing is
//! ever sent. What there is to ask is a table of the provider (`aws`, `gcp`, `azure`, `others`), a row for each value,
//! and the answers are read without a socket (`plan`). A thread asks (`client`), so that nothing waits for an answer that may never come; what comes
//! late completes the resource of the pushes from then on.

#![expect(clippy::disallowed_methods, reason = "how long the metadata took, and how long to wait for it")]

use crate::reading::SourceError;
use crate::stop::Stop;
use config::{Cloud as Settings, Detect};
use instance::Instance;
use provider::Provider;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

mod aws;
mod azure;
pub mod client;
pub mod config;
pub mod dmi;
mod gcp;
pub mod instance;
mod others;
pub mod plan;
pub mod provider;
pub mod timeouts;

/// The cloud of this machine, as far as it is known by now.
#[derive(Debug)]
pub struct Cloud {
    settings: Settings,
    /// The provider whose metadata is requested; `None` if none is.
    provider: Option<Provider>,
    known: Mutex<Known>,
    answered: Condvar,
}

#[derive(Debug)]
struct Known {
    instance: Arc<Instance>,
    /// Whether the first attempt is still to end.
    pending: bool,
}

impl Cloud {
    /// The cloud of the settings, or the one that the files below `root` name (`inventory.root`). Sends nothing.
    pub fn new(settings: &Settings, root: &Path) -> Self {
        let provider = match settings.detect {
            Detect::Off => None,
            Detect::Auto => dmi::provider(&[root, Path::new("/")]),
            Detect::Provider(provider) => Some(provider),
        };
        let found = Instance { provider, ..Instance::default() };
        let known = Known { instance: Arc::new(settings.over(found)), pending: false };
        Self { settings: settings.clone(), provider, known: Mutex::new(known), answered: Condvar::new() }
    }

    /// Starts the thread that asks, where there is a cloud; it ends when the metadata is there, and with the agent.
    pub fn start(self: &Arc<Self>, stop: &Stop) -> io::Result<()> {
        let Some(provider) = self.provider else { return Ok(()) };
        self.known().pending = true;
        let (own, stop) = (Arc::clone(self), stop.clone());
        let thread = std::thread::Builder::new().name("cloud".to_owned());
        thread.spawn(move || own.run(provider, &stop)).map(drop).inspect_err(|_| self.settle(None))
    }

    /// Attributes of the machine known so far.
    pub fn instance(&self) -> Arc<Instance> {
        Arc::clone(&self.known().instance)
    }

    /// The same, after the first attempt to ask, which is waited for at most this long.
    pub fn awaited(&self, most: Duration) -> Arc<Instance> {
        let pending = |known: &mut Known| known.pending;
        let waited = self.answered.wait_timeout_while(self.known(), most, pending);
        let (known, _in_time_or_not) = waited.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&known.instance)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first attempt is over, with what it found.
    fn settle(&self, found: Option<Instance>) {
        let mut known = self.known();
        known.pending = false;
        if let Some(found) = found {
            known.instance = Arc::new(self.settings.over(found));
        }
        self.answered.notify_all();
    }

    fn run(&self, provider: Provider, stop: &Stop) {
        let waits = timeouts::AGAIN.iter().copied().chain(std::iter::repeat(timeouts::LATER));
        let mut found = Instance { provider: Some(provider), ..Instance::default() };
        for (attempt, wait) in waits.enumerate() {
            let failure = self.ask(provider, &mut found).err();
            self.settle(Some(found.clone()));
            let Some(error) = failure else {
                let (id, region) = (found.id.as_deref(), found.region.as_deref());
                tracing::info!(provider = provider.names().word, id, region, "the cloud's metadata was read");
                return;
            };
            let again = humantime::format_duration(wait);
            let error = crate::reading::chain(&error);
            if attempt == 0 {
                tracing::warn!("{error}; asked again in {again}");
            } else {
                tracing::debug!("{error}; asked again in {again}");
            }
            if stop.killed_within(wait) {
                return;
            }
        }
    }

    /// Asks once. What was answered before an error is kept.
    fn ask(&self, provider: Provider, found: &mut Instance) -> Result<(), SourceError> {
        client::ask(&plan(provider), self.settings.endpoint.as_deref(), self.settings.timeout, found)
            .map_err(|failure| failure.into_source(provider))
    }

    /// Asks once, for `connscope check`: which cloud it is, and how long the metadata took.
    pub fn check(&self) -> Result<String, SourceError> {
        let by = if self.settings.detect == Detect::Auto { "by DMI" } else { "by resource.cloud.detect" };
        let Some(provider) = self.provider else {
            return Ok(format!("no cloud {by}; nothing was sent"));
        };
        let began = Instant::now();
        let mut found = Instance::default();
        self.ask(provider, &mut found)
            .map_err(|error| error.again(&format!("{} {by}", provider.names().word)))?;
        Ok(format!("{} {by}; metadata in {} ms", provider.names().word, began.elapsed().as_millis()))
    }
}

/// The requests to the metadata service of a provider.
pub fn plan(provider: Provider) -> plan::Plan {
    match provider {
        Provider::Aws => aws::PLAN,
        Provider::Gcp => gcp::PLAN,
        Provider::Azure => azure::PLAN,
        Provider::DigitalOcean => others::DIGITAL_OCEAN,
        Provider::Hetzner => others::HETZNER,
        Provider::Oracle => others::ORACLE,
        Provider::Alibaba => others::ALIBABA,
    }
}
