//! What the agent says of itself: the process and its version, and what its other parts add.

use crate::metric::{Label, LabelSet};
use crate::reading::Readings;

/// A part of the agent that has numbers of its own in every cycle.
pub trait Vital: std::fmt::Debug + Send + Sync {
    /// Observes them.
    fn observe(&self, out: &mut Readings);
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
        /// Lines of the agent's own log that were dropped because stderr did not take them in time.
        CONNSCOPE_LOG_DROPPED: Counter<u64> = "connscope.log.dropped" in "{line}";
        /// Physical memory used by the agent.
        PROCESS_MEMORY_USAGE: UpDownCounter = "process.memory.usage" in "By";
        /// CPU time used by the agent, without its child processes.
        PROCESS_CPU_TIME: Counter<f64> = "process.cpu.time" in "s", by [CPU_MODE];
    }
}

/// Observes it all.
pub fn observe(exports: Option<&dyn Vital>, out: &mut Readings) {
    let version = [(Label::Version, env!("CARGO_PKG_VERSION").into())];
    out.observe(metrics::CONNSCOPE_BUILD_INFO, &version, 1);
    out.observe(metrics::CONNSCOPE_LOG_DROPPED, &[], crate::log::dropped());
    if let Some(usage) = crate::sys::process::usage() {
        let mode = |mode: &str| [(Label::CpuMode, mode.into())];
        out.observe(metrics::PROCESS_MEMORY_USAGE, &[], usage.resident);
        out.observe(metrics::PROCESS_CPU_TIME, &mode("user"), usage.user);
        out.observe(metrics::PROCESS_CPU_TIME, &mode("system"), usage.system);
    }
    if let Some(exports) = exports {
        exports.observe(out);
    }
}
