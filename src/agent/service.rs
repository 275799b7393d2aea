//! Messages to the service manager (`Type=notify`): ready, a status line, watchdog, reloading, stopping.
//!
//! The watchdog message means that collections end: `WATCHDOG=1` is sent if a cycle has completed since the last one.
//! If no reader has collected (no scrape, or a push that waits for its receiver), a cycle is run for this purpose,
//! unless a reader's own collection is overdue; so a reader that hangs causes a restart.

#![expect(clippy::disallowed_methods, reason = "whether a collection is overdue is measured here")]

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

/// Interval of the status line without a watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Maximum length of the status line, bytes.
const MAX_STATUS: usize = 300;

/// The connection to the service manager, if there is one.
#[derive(Debug)]
pub(super) struct Service {
    notifier: Option<Notifier>,
    watchdog: Option<Duration>,
    /// Whether a failure to send was logged.
    send_failure_logged: AtomicBool,
}

impl Service {
    /// Creates it from the environment variables of the process.
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

    /// Reports that a reload begins.
    pub(super) fn reloading(&self) {
        if self.notifier.is_some() {
            let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
            self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
        }
    }

    /// Reports that the agent, or a reload, is ready.
    pub(super) fn ready(&self, sources: &Sources) {
        if self.notifier.is_some() {
            self.send(&format!("READY=1\nSTATUS={}", status(sources)));
        }
    }

    /// Reports the state of the agent until it stops. `collecting` says whether there is any reader.
    pub(super) async fn notify(self: Arc<Self>, sources: Arc<Sources>, collecting: bool, stop: Stop) {
        if self.notifier.is_none() {
            return;
        }
        let told = async {
            if collecting {
                sources.completed_after(0).await;
            }
            self.ready(&sources);
            self.notify_repeatedly(&sources, collecting).await;
        };
        tokio::select! {
            () = told => {}
            () = stop.exhausted(Duration::ZERO) => self.send("STOPPING=1\nSTATUS=exporting a last cycle"),
        }
    }

    async fn notify_repeatedly(&self, sources: &Arc<Sources>, collecting: bool) {
        let pause = self.watchdog.map_or(STATUS_INTERVAL, |watchdog| watchdog / 4);
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

/// The state of the sources and the push, on one line.
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
    text::bounded(&line, MAX_STATUS)
}
