//! Pressure stall information of a control group (`Documentation/accounting/psi.rst`), pure.

use super::text::lines;

/// Time in microseconds that at least one task (`some`), and that all tasks (`full`), were stalled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stalled {
    /// At least one task.
    pub some: Option<u64>,
    /// All tasks; before Linux 5.13 there is none for the CPU.
    pub full: Option<u64>,
}

/// `cpu.pressure`, `memory.pressure` or `io.pressure`.
pub fn parse(text: &str) -> Stalled {
    let total = |kind: &str| {
        let line = lines(text).find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        line.split(' ').find_map(|field| field.strip_prefix("total="))?.parse().ok()
    };
    Stalled { some: total("some"), full: total("full") }
}
