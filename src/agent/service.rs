//! Messages to the service manager (`Type=notify`): ready, a status line, watchdog, reloading, stopping.
//!
//! The watchdog message means that collections end: `WATCHDOG=1` is sent if a cycle has completed since the last one, and
//! no reader's collection is overdue; so a reader that hangs causes a restart, whatever the others do. If no reader has
//! collected (no scrape, or a push that waits for its receiver), a cycle is run for this purpose.
//!
//! The socket of a service manager that is busy may be full. What could not be sent is sent later, states in their order.

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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Interval of the status line without a watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Time after which a state that could not be sent is retried.
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
    /// States (`READY=1`, `RELOADING=1`) that could not be sent, in the order of sending: the service manager waits for each.
    /// At most three, since a later reload takes the place of an earlier one.
    unsent: Mutex<Vec<String>>,
    /// A state could not be sent.
    has_unsent: Notify,
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
        let (unsent, has_unsent) = (Mutex::default(), Notify::new());
        Self { notifier, watchdog, send_failure_logged, ready, unsent, has_unsent }
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

    /// Sends a state, and a status line where there is one, after those that could not be sent before.
    fn send_state(&self, state: &str, status: Option<&str>) {
        let all_sent = self.send_again();
        let status = status.map_or_else(String::new, |status| format!("\nSTATUS={status}"));
        if all_sent && self.send(&format!("{state}{status}")) {
            return;
        }
        self.unsent().push(state.to_owned());
        self.has_unsent.notify_one();
    }

    /// Sends the states that could not be sent before. Returns whether none is left.
    fn send_again(&self) -> bool {
        let mut unsent = self.unsent();
        let sent = unsent.iter().take_while(|state| self.send(state)).count();
        unsent.drain(..sent);
        unsent.is_empty()
    }

    fn unsent(&self) -> MutexGuard<'_, Vec<String>> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits. States that could not be sent, also those of meanwhile, are retried every [`AGAIN`]; the wait is over when there is room.
    async fn pause(&self, pause: Duration) {
        let retried = async {
            if self.send_again() {
                self.has_unsent.notified().await;
            }
            while !self.send_again() {
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::select! {
            () = retried => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Reports that a reload begins.
    pub(super) fn reloading(&self) {
        if self.ready.load(Ordering::Relaxed) {
            let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
            // A manager that waits for the time of its own request takes that of the last reload only.
            let mut unsent = self.unsent();
            let earlier = unsent.iter().position(|state| state.starts_with("RELOADING=1"));
            unsent.truncate(earlier.unwrap_or(usize::MAX));
            drop(unsent);
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
                self.send("STOPPING=1\nSTATUS=exporting a last cycle");
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
            if lines.is_empty() || (self.send_again() && self.send(lines.trim_end())) {
                (seen, said) = (completed, status);
            }
            self.pause(pause).await;
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
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
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

    /// Sources that nobody has enabled, and a service manager that listens on the socket.
    fn notified(folder: &Path, watchdog: Duration) -> (Arc<Sources>, UnixDatagram, Service) {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let table = Arc::new(Table::of(&[&crate::self_metrics::metrics::PART], &Vec::new()).unwrap());
        let sources = Arc::new(Sources::of(Vec::new(), table, None, &Stop::new().unwrap()));
        (sources, socket, Service::new(Some(Notifier::to(path.as_ref()).unwrap()), Some(watchdog)))
    }

    /// Longer than anything takes on a busy machine.
    const PATIENCE: Duration = Duration::from_mins(1);

    /// Calls `next` every 20 ms, and collects what has come, until a line has come that starts with this.
    async fn until_said(socket: &UnixDatagram, start: &str, next: impl Fn()) -> Vec<String> {
        let (began, mut lines) = (Instant::now(), Vec::new());
        while !lines.iter().any(|line: &String| line.starts_with(start)) {
            assert!(began.elapsed() < PATIENCE, "no {start}: {lines:?}");
            next();
            tokio::time::sleep(Duration::from_millis(20)).await;
            lines.extend(said(socket));
        }
        lines
    }

    #[test]
    fn states_that_a_full_socket_has_no_room_for_are_sent_soon_and_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        // A quarter of it is the pause between two messages.
        let (sources, socket, service) = notified(folder.path(), PATIENCE * 60);
        service.ready.store(true, Ordering::Relaxed);
        let runtime = crate::runtime::of_one_thread("tests", 2).unwrap();
        runtime.block_on(async {
            let told = async {
                until_said(&socket, "STATUS=", || {}).await;
                let other = UnixDatagram::unbound().unwrap();
                other.set_nonblocking(true).unwrap();
                while other.send_to(b"of another service", folder.path().join("notify")).is_ok() {}
                service.reloading();
                service.reloaded(&sources);
                let first = service.unsent().clone();
                tokio::time::sleep(Duration::from_millis(5)).await;
                service.reloading();
                let last = service.unsent().clone();
                service.reloaded(&sources);
                let lines = until_said(&socket, "READY=1", || {}).await;
                let states: Vec<_> = lines.iter().filter(|line| line.starts_with("RE")).collect();
                assert!(first.len() == 2 && last.len() == 1 && last[0] > first[0], "{first:?} {last:?}");
                assert_eq!(states, [last[0].as_str(), "READY=1"]);
                service.reloading();
                service.reloaded(&sources);
                let mut lines = until_said(&socket, "READY=1", || {}).await;
                lines.retain(|line| line.starts_with("RE"));
                assert!(lines.len() == 2 && lines[1].contains("STATUS="), "nothing is sent twice: {lines:?}");
            };
            tokio::select! {
                () = told => {}
                () = service.notify_repeatedly(&sources, true) => unreachable!("it has no end"),
            }
        });
    }

    #[test]
    fn a_reader_that_hangs_is_not_covered_by_another_that_collects() {
        let folder = tempfile::tempdir().unwrap();
        let watchdog = Duration::from_millis(200);
        let (sources, socket, service) = notified(folder.path(), watchdog);
        let [hanging, collecting] =
            [ReaderKind::Prometheus, ReaderKind::Otlp].map(|kind| Cycle::new(Arc::clone(&sources), kind));
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
            let well = async || until_said(&socket, "WATCHDOG=1", || drop(collecting.run())).await;
            let told = async {
                well().await;
                hanging.progress.collecting(Instant::now());
                busy(watchdog * 2).await;
                let lines = busy(watchdog * 5).await;
                assert_eq!(fed(&lines), 0, "{lines:?}");
                hanging.progress.waiting(Instant::now());
                well().await;
            };
            tokio::select! {
                () = told => {}
                () = service.notify_repeatedly(&sources, true) => unreachable!("it has no end"),
            }
        });
    }
}
