//! Messages to the service manager (`Type=notify`): ready, a status line, watchdog, reloading, stopping.
//!
//! The watchdog message means that collections end: `WATCHDOG=1` is sent if a cycle has completed since the last one, and
//! no reader's collection is overdue; so a reader that hangs causes a restart, whatever the others do. If no reader has
//! collected (no scrape, or a push that waits for its receiver), a cycle is run for this purpose.
//!
//! The socket of a service manager that is busy may be full. What could not be sent is sent later.

#![expect(clippy::disallowed_methods, reason = "whether a collection is overdue is measured here")]

use crate::config::environment::Process;
use crate::cycle::Sources;
use crate::stop::Stop;
use crate::sys::notify::{Notifier, watchdog};
use crate::text;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Interval of the status line without a watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Maximum time after which a state that could not be sent is retried.
const AGAIN: Duration = Duration::from_secs(1);

/// Maximum length of the status line, bytes.
const MAX_STATUS: usize = 300;

/// The connection to the service manager, if there is one.
#[derive(Debug)]
pub(super) struct Service {
    notifier: Option<Notifier>,
    watchdog: Option<Duration>,
    /// Whether a failure to send was logged.
    send_failure_logged: AtomicBool,
    /// Whether `READY=1` is due. Before, there is nothing to say about a reload.
    ready: AtomicBool,
    /// The last state (`READY=1`, `RELOADING=1`) if it could not be sent: the service manager waits for it.
    unsent: Mutex<Option<String>>,
}

/// The cycle that is run if no reader collects, and when it began.
type OwnCycle = Option<(Instant, JoinHandle<()>)>;

impl Service {
    /// Creates it from the environment variables of the process.
    pub(super) fn of_process() -> Self {
        let variables = Process::default();
        let watchdog =
            watchdog(variables.get("WATCHDOG_USEC").as_deref(), variables.get("WATCHDOG_PID").as_deref());
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let notifier = address.and_then(|address| open(&address));
        Self::new(notifier, watchdog)
    }

    fn new(notifier: Option<Notifier>, watchdog: Option<Duration>) -> Self {
        let (send_failure_logged, ready) = (AtomicBool::default(), AtomicBool::default());
        Self { notifier, watchdog, send_failure_logged, ready, unsent: Mutex::default() }
    }

    /// Returns whether it was sent.
    fn send(&self, lines: &str) -> bool {
        let Some(Err(error)) = self.notifier.as_ref().map(|notifier| notifier.send(lines)) else {
            return true;
        };
        if !self.send_failure_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "notifying the service manager over NOTIFY_SOCKET: {error}; it is retried, and logged once"
            );
        }
        false
    }

    /// Sends a state, and a status line where there is one.
    fn send_state(&self, state: &str, status: Option<&str>) {
        let status = status.map_or_else(String::new, |status| format!("\nSTATUS={status}"));
        let sent = self.send(&format!("{state}{status}"));
        *self.unsent.lock().unwrap_or_else(PoisonError::into_inner) = (!sent).then(|| state.to_owned());
    }

    /// Sends the state that could not be sent before. Returns whether there is none left.
    fn send_again(&self) -> bool {
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        unsent.take_if(|state| self.send(state));
        unsent.is_none()
    }

    /// Reports that a reload begins.
    pub(super) fn reloading(&self) {
        if self.ready.load(Ordering::Relaxed) {
            let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
            self.send_state(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()), None);
        }
    }

    /// Reports that a reload has ended.
    pub(super) fn reloaded(&self, sources: &Sources) {
        if self.ready.load(Ordering::Relaxed) {
            self.send_state("READY=1", Some(&status(sources)));
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
            self.ready.store(true, Ordering::Relaxed);
            self.send_state("READY=1", Some(&status(&sources)));
            self.notify_repeatedly(&sources, collecting).await;
        };
        tokio::select! {
            () = told => {}
            () = stop.exhausted(Duration::ZERO) => {
                self.send_state("STOPPING=1", Some("exporting a last cycle"));
            }
        }
    }

    async fn notify_repeatedly(&self, sources: &Arc<Sources>, collecting: bool) {
        let pause = self.watchdog.map_or(STATUS_INTERVAL, |watchdog| watchdog / 4);
        let (mut seen, mut own, mut said): (u64, OwnCycle, String) = Default::default();
        if let Some(watchdog) = self.watchdog.filter(|watchdog| sources.longest() > *watchdog / 2) {
            let [longest, watchdog] = [sources.longest(), watchdog].map(humantime::format_duration);
            tracing::warn!(
                "a source may take {longest}, and the service manager waits {watchdog} for the end of a cycle: set WatchdogSec= \
                 to more than twice the longest timeout of a source"
            );
        }
        loop {
            let pause = if self.send_again() { pause } else { pause.min(AGAIN) };
            let (completed, now) = (sources.completed(), Instant::now());
            let mut lines = String::new();
            let feeds = self.watchdog.is_some_and(|watchdog| {
                let hangs = own.as_ref().is_some_and(|(since, cycle)| {
                    !cycle.is_finished() && now.saturating_duration_since(*since) > watchdog
                });
                !hangs && !sources.overdue(now, watchdog)
            });
            if feeds && (completed != seen || !collecting) {
                lines.push_str("WATCHDOG=1\n");
            } else if feeds && own.as_ref().is_none_or(|(_, cycle)| cycle.is_finished()) {
                let sources = Arc::clone(sources);
                own = Some((now, tokio::task::spawn_blocking(move || sources.try_all())));
            }
            let status = status(sources);
            if said != status {
                let _infallible = write!(lines, "STATUS={status}");
            }
            if lines.is_empty() || self.send(lines.trim_end()) {
                (seen, said) = (completed, status);
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

#[cfg(test)]
mod tests {
    use super::{Notifier, Service, Sources, Stop};
    use crate::cycle::Cycle;
    use crate::metric::Table;
    use crate::reading::first::ReaderKind;
    use std::os::unix::net::UnixDatagram;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// What has come so far.
    fn said(socket: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 4096];
        let lines = std::iter::from_fn(|| {
            let length = socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        });
        lines.collect()
    }

    #[test]
    fn a_reader_that_hangs_is_not_covered_by_another_that_collects() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let stop = Stop::new().unwrap();
        let table = Arc::new(Table::of(&[&crate::self_metrics::metrics::PART], &Vec::new()).unwrap());
        let sources = Arc::new(Sources::of(Vec::new(), table, None, &stop));
        let [hanging, collecting] =
            [ReaderKind::Prometheus, ReaderKind::Otlp].map(|kind| Cycle::new(Arc::clone(&sources), kind));
        let watchdog = Duration::from_millis(200);
        let service = Service::new(Some(Notifier::to(path.as_ref()).unwrap()), Some(watchdog));
        let runtime = crate::runtime::of_one_thread("tests", 2).unwrap();
        let fed = |lines: &[String]| lines.iter().filter(|line| line.contains("WATCHDOG=1")).count();
        runtime.block_on(async {
            let busy = async |time: Duration| {
                let until = Instant::now() + time;
                while Instant::now() < until {
                    drop(collecting.run());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                said(&socket)
            };
            let told = async {
                assert!(fed(&busy(watchdog * 2).await) > 0, "both are well");
                hanging.progress.collecting(Instant::now());
                busy(watchdog * 2).await;
                let lines = busy(watchdog * 5).await;
                assert_eq!(fed(&lines), 0, "{lines:?}");
                hanging.progress.waiting(Instant::now());
                assert!(fed(&busy(watchdog * 2).await) > 0, "it has ended");
            };
            tokio::select! {
                () = told => {}
                () = service.notify_repeatedly(&sources, true) => unreachable!("it has no end"),
            }
        });
    }
}
