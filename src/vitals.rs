//! What the agent says of itself: the process and its version, and what its other parts add.

use crate::metric::{Label, LabelSet};
use crate::reading::Readings;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A part of the agent that has numbers of its own in every cycle.
pub trait Vital: std::fmt::Debug + Send + Sync {
    /// Observes them.
    fn observe(&self, out: &mut Readings);
}

/// How the configuration was last read.
#[derive(Debug)]
pub struct Loads(Mutex<(bool, f64)>);

impl Loads {
    /// It was read at the start.
    pub fn new(now: SystemTime) -> Self {
        Self(Mutex::new((true, seconds(now))))
    }

    /// It was read again, or refused.
    pub fn note(&self, success: bool, now: SystemTime) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (success, if success { seconds(now) } else { last.1 });
    }
}

impl Vital for Loads {
    fn observe(&self, out: &mut Readings) {
        let (success, time) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

/// The rows of what the agent says of itself.
pub mod metrics {
    use super::{CPU_MODE, VERSION};

    crate::metrics! {
        /// Version of the running agent; always 1.
        CONNSCOPE_BUILD_INFO: Gauge<u64> = "connscope.build.info" in "", by [VERSION];
        /// 1 if the configuration could be used when it was last read, at the start or by a reload; 0 if the one before stayed.
        CONNSCOPE_CONFIG_LAST_RELOAD_SUCCESS: Gauge<u64> = "connscope.config.last_reload.success" in "";
        /// Unix time at which the configuration in effect was read.
        CONNSCOPE_CONFIG_LAST_RELOAD_TIME: Gauge<f64> = "connscope.config.last_reload.time" in "s";
        /// Lines of the agent's own log that were dropped because stderr did not take them in time.
        CONNSCOPE_LOG_DROPPED: Counter<u64> = "connscope.log.dropped" in "{line}";
        /// Physical memory used by the agent.
        PROCESS_MEMORY_USAGE: UpDownCounter = "process.memory.usage" in "By";
        /// CPU time used by the agent, without its child processes.
        PROCESS_CPU_TIME: Counter<f64> = "process.cpu.time" in "s", by [CPU_MODE];
    }
}

/// Observes it all.
pub fn observe(parts: &[Arc<dyn Vital>], out: &mut Readings) {
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
