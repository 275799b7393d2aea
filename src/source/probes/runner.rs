//! The thread of the probes: waits for the next scheduled probe, starts it, and records its result.
//!
//! One thread with its own runtime: a probe mostly waits, and uses one core. The thread shares nothing with the
//! exports, and a reader never waits for it.

#![expect(clippy::disallowed_methods, reason = "the schedule counts from the start of the thread")]

use super::attempt::Options;
use super::entry::TargetEntry;
use super::registry::{PanicGuard, Registry, TargetChanges};
use super::resolve::Resolver;
use super::result::ProbeResult;
use super::schedule::{Pace, Schedule, TargetId};
use crate::source::Mode;
use crate::source::probes::config::Probes;
use crate::stop::Stop;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// Interval between the first probes of a few new targets; many new targets are spread over their interval.
const SPREAD: Duration = Duration::from_millis(10);

/// State shared by all probes.
#[derive(Debug)]
pub struct RunnerContext {
    /// Settings.
    pub settings: Probes,
    /// Whether every target is probed at once, and the first read waits for the results.
    pub mode: Mode,
    /// Resolver of names.
    pub resolver: Resolver,
    /// Targets.
    pub registry: Registry,
}

/// Handle of the thread.
#[derive(Debug, Clone)]
pub struct Runner {
    changes: mpsc::UnboundedSender<TargetChanges>,
    /// The runtime, for other tasks of the source.
    pub runtime: tokio::runtime::Handle,
}

/// Message that a probe has ended.
#[derive(Debug, Clone, Copy)]
struct FinishedProbe {
    id: TargetId,
    pace: Pace,
    /// Number of concurrency slots of the next probe.
    slots: usize,
}

impl Runner {
    /// Starts the thread. It ends when the agent stops, or when every clone of this is dropped; the tasks that check
    /// files and names have a clone each.
    pub fn start(common: &Arc<RunnerContext>, stop: &Stop) -> std::io::Result<Self> {
        let (changes, inbox) = mpsc::unbounded_channel();
        // Two for files and names, two for expressions.
        let runtime = crate::runtime::of_one_thread("probes-files", 4)?;
        let runner = Self { changes, runtime: runtime.handle().clone() };
        let (common, stop) = (Arc::clone(common), stop.clone());
        std::thread::Builder::new().name("probes".to_owned()).spawn(move || {
            let doing = "scheduling probes: probing has stopped";
            let _guard = PanicGuard { registry: &common.registry, group: "thread", doing };
            runtime.block_on(async {
                tokio::select! {
                    () = stop.exhausted(Duration::ZERO) => {}
                    () = drive(&common, inbox) => {}
                }
            });
            // The results of probes in progress are not needed any more.
            runtime.shutdown_background();
        })?;
        Ok(runner)
    }

    /// Sends added and removed targets to the thread.
    pub fn send(&self, change: TargetChanges) {
        // If the thread has ended, probing has stopped.
        let _ended = self.changes.send(change);
    }
}

/// Starts every probe at its scheduled time, until every [`Runner`] is dropped.
async fn drive(common: &Arc<RunnerContext>, mut inbox: mpsc::UnboundedReceiver<TargetChanges>) {
    let epoch = Instant::now();
    // Two slots per target are enough for all, because slow targets may use half of the slots.
    let limit = descriptors(common.settings.concurrency.min(common.registry.limit * 2));
    let mut schedule = Schedule::new(limit);
    let mut entries: HashMap<TargetId, Arc<TargetEntry>> = HashMap::new();
    let mut ids: HashMap<u64, TargetId> = HashMap::new();
    let (sender, mut ended) = mpsc::unbounded_channel::<FinishedProbe>();
    loop {
        while let Some(begin) = schedule.begin(epoch.elapsed()) {
            common.registry.delayed(begin.late);
            if let Some(entry) = entries.get(&begin.id) {
                let (common, entry, sender) = (Arc::clone(common), Arc::clone(entry), sender.clone());
                common.registry.running.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    // If the lookup failed, all addresses may be probed the next time.
                    let slots = entry.target.settings.max_addresses();
                    let ended = FinishedProbe { id: begin.id, pace: Pace::Slow, slots };
                    let done = SlotGuard { ended, sender, common: Arc::clone(&common), entry };
                    probe(&common, done).await;
                });
            }
        }
        let next = schedule.next().map(|moment| epoch + moment);
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(FinishedProbe { id, pace, slots }) = ended.recv() => {
                schedule.end(id, epoch.elapsed(), pace);
                schedule.set_slots(id, slots);
            }
            change = inbox.recv() => {
                let Some(change) = change else { return };
                for id in change.removed.iter().filter_map(|entry| ids.remove(&entry.number)) {
                    schedule.remove(id);
                    entries.remove(&id);
                }
                let count = u32::try_from(change.added.len()).unwrap_or(u32::MAX);
                for entry in change.added {
                    let interval = entry.target.interval;
                    let spread = if common.mode == Mode::Once { Duration::ZERO } else { interval.min(SPREAD * count) };
                    let jitter = interval.mul_f64(common.settings.jitter);
                    let id = schedule.add(epoch.elapsed(), interval, jitter, spread);
                    schedule.set_slots(id, entry.target.settings.max_addresses());
                    ids.insert(entry.number, id);
                    entries.insert(id, entry);
                }
            }
            () = due => {}
        }
    }
}

/// Releases the slots when the probe ends, in any way.
struct SlotGuard {
    ended: FinishedProbe,
    sender: mpsc::UnboundedSender<FinishedProbe>,
    common: Arc<RunnerContext>,
    entry: Arc<TargetEntry>,
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.common.registry.running.fetch_sub(1, Ordering::Relaxed);
        // The runtime swallows a panic. If the receiver is gone, the panic is not that of the probe.
        let heard = self.sender.send(self.ended).is_ok();
        self.entry.panicked.store(heard && std::thread::panicking(), Ordering::Relaxed);
    }
}

/// Probes a target once, or once for each address.
async fn probe(common: &RunnerContext, mut done: SlotGuard) {
    let entry = Arc::clone(&done.entry);
    let target = &entry.target;
    let quick = |took: Duration| if took * 2 < target.route.timeout { Pace::Quick } else { Pace::Slow };
    if !target.settings.all {
        let result = target.probe(&common.resolver, Options::default()).await;
        done.ended.pace = quick(result.took);
        entry.take(None, result, &common.settings);
        return;
    }
    let began = Instant::now();
    match target.addresses(&common.resolver, &entry.addresses()).await {
        Ok(addresses) => {
            entry.keep(&addresses);
            done.ended.slots = addresses.len();
            // Concurrently, each in its own slot: sequentially it would take as many times as long.
            let mut probes = Vec::with_capacity(addresses.len());
            let spent = began.elapsed();
            for address in addresses {
                let options = Options { address: Some(address), spent, ..Options::default() };
                probes.push((address, Box::pin(target.probe(&common.resolver, options))));
            }
            for (address, result) in join(probes).await {
                entry.take(Some(address), result, &common.settings);
            }
        }
        Err(fault) => {
            let mut known = entry.addresses();
            if known.is_empty() {
                known.push(None);
            }
            for address in known {
                let mut result = ProbeResult::new(SystemTime::now(), Instant::now(), false);
                result.took = began.elapsed();
                result.fault = Some(fault.clone());
                entry.take(address, result, &common.settings);
            }
        }
    }
    done.ended.pace = quick(began.elapsed());
}

/// Waits for all futures.
async fn join<K: Copy, F: Future + Unpin>(mut waiting: Vec<(K, F)>) -> Vec<(K, F::Output)> {
    let mut ready = Vec::with_capacity(waiting.len());
    std::future::poll_fn(|context| {
        waiting.retain_mut(|(key, future)| match std::pin::Pin::new(future).poll(context) {
            std::task::Poll::Ready(output) => {
                ready.push((*key, output));
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    ready
}

/// Maximum number of concurrent probes, after the limit of open files was raised for them.
fn descriptors(wanted: usize) -> usize {
    /// Number of descriptors for the rest of the agent, including name lookups besides the probes.
    const REST: u64 = 256;
    let wanted = wanted as u64;
    let have = crate::sys::process::descriptors(wanted * 2 + REST);
    let possible = have.saturating_sub(REST) / 2;
    if possible < wanted {
        tracing::warn!(
            wanted,
            possible,
            "fewer probes run at a time: the limit of open files (RLIMIT_NOFILE, LimitNOFILE=) allows no more"
        );
    }
    usize::try_from(wanted.min(possible)).unwrap_or(usize::MAX).max(2)
}
