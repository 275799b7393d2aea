//! What the service manager is told (`Type=notify`): ready, one line of status, alive, reloading, stopping.
//!
//! Alive means that collections end. `WATCHDOG=1` is sent where a cycle has completed since the last time, and for no other
//! reason. Where no reader has asked for one (nobody scrapes; the receiver of a push takes its time), a cycle is run for this; but
//! not where a reader is late with its own, so that one that hangs has the agent restarted.

#![expect(clippy::disallowed_methods, reason = "whether a collection is late is measured here")]

use crate::config::environment::Process;
use crate::cycle::Sources;
use crate::stop::Stop;
use crate::sys::notify::{Notifier, watchdog};
use crate::text;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How often the status is looked at where there is no watchdog.
const LOOK: Duration = Duration::from_secs(10);

/// Longest status line, in bytes.
const LONGEST: usize = 300;

/// The service manager, where there is one that wants to know.
#[derive(Debug)]
pub(super) struct Service {
    notifier: Option<Notifier>,
    watchdog: Option<Duration>,
    /// It could not be told something, and the log has said so.
    send_failure_logged: AtomicBool,
}

impl Service {
    /// As the environment says.
    pub(super) fn of_process() -> Self {
        let variables = Process::default();
        let watchdog =
            watchdog(variables.get("WATCHDOG_USEC").as_deref(), variables.get("WATCHDOG_PID").as_deref());
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let notifier = address.and_then(|address| open(&address));
        Self { notifier, watchdog, send_failure_logged: AtomicBool::new(false) }
    }

    fn send(&self, lines: &str) {
        let Some(Err(error)) = self.notifier.as_ref().map(|notifier| notifier.send(lines)) else { return };
        if !self.send_failure_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!("notifying the service manager over NOTIFY_SOCKET: {error}; logged once");
        }
    }

    /// The configuration is about to be read again.
    pub(super) fn reloading(&self) {
        if self.notifier.is_some() {
            let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
            self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
        }
    }

    /// The agent is up; after a reload, up again.
    pub(super) fn ready(&self, sources: &Sources) {
        if self.notifier.is_some() {
            self.send(&format!("READY=1\nSTATUS={}", status(sources)));
        }
    }

    /// Tells how the agent is doing until it stops. `collecting`: whether anything is collected at all.
    pub(super) async fn tell(self: Arc<Self>, sources: Arc<Sources>, collecting: bool, stop: Stop) {
        if self.notifier.is_none() {
            return;
        }
        let told = async {
            if collecting {
                sources.completed_after(0).await;
            }
            self.ready(&sources);
            self.keep_telling(&sources, collecting).await;
        };
        tokio::select! {
            () = told => {}
            () = stop.exhausted(Duration::ZERO) => self.send("STOPPING=1\nSTATUS=exporting a last cycle"),
        }
    }

    async fn keep_telling(&self, sources: &Arc<Sources>, collecting: bool) {
        let pause = self.watchdog.map_or(LOOK, |watchdog| watchdog / 4);
        let (mut seen, mut own, mut said): (u64, Option<JoinHandle<()>>, String) = Default::default();
        if let Some(watchdog) = self.watchdog.filter(|watchdog| sources.longest() > *watchdog / 2) {
            let [longest, watchdog] = [sources.longest(), watchdog].map(humantime::format_duration);
            tracing::warn!(
                "a source may take {longest}, and the service manager waits {watchdog} for the end of a cycle: set WatchdogSec= \
                 to more than twice the longest timeout of a source"
            );
        }
        loop {
            let completed = sources.completed();
            let mut lines = String::new();
            if self.watchdog.is_some() && (completed != seen || !collecting) {
                lines.push_str("WATCHDOG=1\n");
            } else if let Some(watchdog) = self.watchdog
                && own.as_ref().is_none_or(JoinHandle::is_finished)
                && !sources.overdue(Instant::now(), watchdog)
            {
                let sources = Arc::clone(sources);
                own = Some(tokio::task::spawn_blocking(move || sources.try_all()));
            }
            seen = completed;
            let status = status(sources);
            if said != status {
                let _infallible = write!(lines, "STATUS={status}");
                said = status;
            }
            if !lines.is_empty() {
                self.send(lines.trim_end());
            }
            tokio::time::sleep(pause).await;
        }
    }
}

fn open(address: &OsStr) -> Option<Notifier> {
    let opened = Notifier::to(address);
    opened
        .inspect_err(|error| {
            let address = text::bounded(&address.to_string_lossy(), text::LONGEST_NAME);
            tracing::warn!("NOTIFY_SOCKET is {address}: {error}; the service manager is not notified");
        })
        .ok()
}

/// How the sources and the push are doing, on one line.
fn status(sources: &Sources) -> String {
    let known = sources.health.sources();
    let (mut up, mut series, mut failing) = (0, 0, String::new());
    for (source, health) in &known {
        series += health.readings;
        if health.failures.is_empty() {
            up += 1;
        } else {
            let _infallible = write!(failing, "; {source} is {}", health.state());
        }
    }
    let mut line = format!("{up} of {} sources up, {series} series{failing}", known.len());
    if let Some(why) = sources.health.push().failure {
        let _infallible = write!(line, "; the push fails: {why}");
    }
    text::bounded(&line, LONGEST)
}
