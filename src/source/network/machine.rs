//! What the kernel counts for all network namespaces together: the backlog of each CPU, and connections without an owner.

use super::{counters, metrics, softnet};
use crate::metric::Label;
use crate::reading::{Readings, SourceError};
use crate::source::network::unwrap::Unwrapper;

/// The backlogs of the CPUs.
const SOFTNET: &str = "/proc/net/softnet_stat";
/// A row has at most 15 words of 9 bytes, and there are at most 8192 CPUs.
const SOFTNET_MOST: u64 = 15 * 9 * 8192;
/// Sockets by state.
const SOCKSTAT: &str = "/proc/net/sockstat";
/// The limit of connections without an owner; in the first network namespace only.
const MAX_ORPHANS: &str = "/proc/sys/net/ipv4/tcp_max_orphans";
/// The CPUs that have rows where rows have no number.
const ONLINE: &str = "/sys/devices/system/cpu/online";
/// Both of the small files are far smaller.
const MAX_FILE_BYTES: u64 = 4096;

/// The totals of the CPUs' counters, which have 32 bits in the kernel: by CPU, and whether it is `time_squeeze`.
#[derive(Debug, Default)]
pub struct Machine {
    totals: Unwrapper<(u32, bool)>,
}

/// Reads the rows of the CPUs, each with its number.
pub fn read_softnet() -> Result<Vec<(u32, softnet::Row)>, SourceError> {
    let doing = || format!("reading {SOFTNET}");
    let text = crate::sys::read_limited(SOFTNET, SOFTNET_MOST)
        .map_err(|cause| SourceError::from_io(doing(), "the permission to read it", cause))?;
    let rows = softnet::parse(&text).map_err(|cause| SourceError::parse(doing(), cause))?;
    let online = if rows.iter().any(|row| row.cpu.is_none()) {
        crate::sys::read_limited(ONLINE, MAX_FILE_BYTES)
            .ok()
            .and_then(|list| crate::sys::cpu_list(&list))
            .unwrap_or_default()
    } else {
        Vec::new()
    };
    let number = |index: usize| online.get(index).copied().or_else(|| u32::try_from(index).ok()).unwrap_or(0);
    Ok(rows
        .into_iter()
        .enumerate()
        .map(|(index, row)| (row.cpu.unwrap_or_else(|| number(index)), row))
        .collect())
}

impl Machine {
    /// Reads and observes; the error says what is missing.
    pub fn observe(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        if let Some(orphans) = read(SOCKSTAT).as_deref().and_then(counters::orphans) {
            out.observe(metrics::TCP_ORPHANS_USAGE, &[], orphans);
        }
        if let Some(limit) = read(MAX_ORPHANS).and_then(|text| text.trim().parse().ok()) {
            out.observe(metrics::TCP_ORPHANS_LIMIT, &[], limit);
        }
        self.observe_backlogs(read_softnet()?, out);
        Ok(())
    }

    /// Observes the backlogs of the CPUs, each with its number. Ends a cycle.
    pub fn observe_backlogs(&mut self, rows: Vec<(u32, softnet::Row)>, out: &mut Readings) {
        for (cpu, row) in rows {
            let labels = [(Label::Cpu, cpu.to_string().into())];
            out.observe(metrics::SOFTNET_DROPPED, &labels, self.totals.total((cpu, false), row.dropped));
            let squeezed = self.totals.total((cpu, true), row.time_squeeze);
            out.observe(metrics::SOFTNET_TIME_SQUEEZE, &labels, squeezed);
        }
        self.totals.end_cycle();
    }
}

/// A small file; what cannot be read is not there in this network namespace.
fn read(path: &str) -> Option<String> {
    crate::sys::read_limited(path, MAX_FILE_BYTES).ok()
}
