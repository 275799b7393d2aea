//! Metrics of the agent itself: the process and its version, and those of its parts.

use crate::metric::{Label, LabelSet, Part};
use crate::reading::Readings;
use crate::tls;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A part of the agent that reports metrics of its own in every cycle.
pub trait SelfMetrics: std::fmt::Debug + Send + Sync {
    /// Observes its metrics.
    fn observe(&self, out: &mut Readings);

    /// Its part of the table, and since when it counts; `None` if that is since the start of the process.
    fn began(&self) -> Option<(&'static Part, SystemTime)> {
        None
    }
}

/// Whether the configuration that is in effect is the one that was read last, and when it was read.
#[derive(Debug)]
pub struct ConfigLoadStatus {
    last: Mutex<(bool, f64)>,
    web_refused: AtomicBool,
}

impl ConfigLoadStatus {
    /// After a successful load at the start.
    pub fn new(now: SystemTime) -> Self {
        Self { last: Mutex::new((true, seconds(now))), web_refused: AtomicBool::new(false) }
    }

    /// Whether the last load was refused, and the configuration before it is in effect.
    pub fn is_refused(&self) -> bool {
        !self.last().0
    }

    /// Whether the web configuration, or a certificate that it names, was refused at its latest reload.
    pub fn is_web_refused(&self) -> bool {
        self.web_refused.load(Ordering::Relaxed)
    }

    /// Records whether the web configuration was refused at its latest reload.
    pub fn note_web(&self, refused: bool) {
        self.web_refused.store(refused, Ordering::Relaxed);
    }

    /// Sets of certificates of the exporter and of targets that were refused when they were renewed.
    pub fn refused_certificates() -> usize {
        tls::refused()
    }

    fn last(&self) -> MutexGuard<'_, (bool, f64)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a reload: successful, or refused.
    pub fn note(&self, success: bool, now: SystemTime) {
        let mut last = self.last();
        *last = (success, if success { seconds(now) } else { last.1 });
    }
}

impl SelfMetrics for ConfigLoadStatus {
    fn observe(&self, out: &mut Readings) {
        let (success, time) = *self.last();
        let success = success && !self.is_web_refused() && Self::refused_certificates() == 0;
        out.observe(metrics::CONNSCOPE_CONFIG_LAST_RELOAD_SUCCESS, &[], u64::from(success));
        out.observe(metrics::CONNSCOPE_CONFIG_LAST_RELOAD_TIME, &[], time);
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Version of the agent.
pub static VERSION: LabelSet = LabelSet::fixed(&[Label::Version], 1);
/// `user` or `system`.
pub static CPU_MODE: LabelSet = LabelSet::fixed(&[Label::CpuMode], 2);

/// The agent's rows of the table.
pub mod metrics {
    use super::{CPU_MODE, VERSION};

    crate::metrics! {
        /// Version of the running agent; always 1.
        CONNSCOPE_BUILD_INFO: Gauge<u64> = "connscope.build.info" in "", by [VERSION];
        /// 1 if the configuration was accepted when it was last read; 0 if it, the web configuration or a renewed certificate was refused and the previous one stays in effect.
        CONNSCOPE_CONFIG_LAST_RELOAD_SUCCESS: Gauge<u64> = "connscope.config.last_reload.success" in "";
        /// Unix time at which the configuration in effect was read.
        CONNSCOPE_CONFIG_LAST_RELOAD_TIME: Gauge<f64> = "connscope.config.last_reload.time" in "s";
        /// Lines of the agent's own log that were dropped because stderr was blocked.
        CONNSCOPE_LOG_DROPPED: Counter<u64> = "connscope.log.dropped" in "{line}";
        /// Physical memory used by the agent.
        PROCESS_MEMORY_USAGE: UpDownCounter = "process.memory.usage" in "By";
        /// CPU time used by the agent, without its child processes.
        PROCESS_CPU_TIME: Counter<f64> = "process.cpu.time" in "s", by [CPU_MODE];
    }
}

/// Observes the agent's own metrics, and those of its parts.
pub fn observe(parts: &[Arc<dyn SelfMetrics>], out: &mut Readings) {
    let version = [(Label::Version, env!("CARGO_PKG_VERSION").into())];
    out.observe(metrics::CONNSCOPE_BUILD_INFO, &version, 1);
    out.observe(metrics::CONNSCOPE_LOG_DROPPED, &[], crate::log::dropped());
    if let Some(usage) = crate::sys::process::usage() {
        let mode = |mode: &str| [(Label::CpuMode, mode.into())];
        out.observe(metrics::PROCESS_MEMORY_USAGE, &[], usage.resident);
        out.observe(metrics::PROCESS_CPU_TIME, &mode("user"), usage.user);
        out.observe(metrics::PROCESS_CPU_TIME, &mode("system"), usage.system);
    }
    for part in parts {
        part.observe(out);
    }
}
