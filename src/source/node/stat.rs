//! `/proc/stat` and `/proc/uptime` (pure): CPU time by mode in ticks, the CPUs that are online, time since the start.
//!
//! `fs/proc/stat.c`, `show_stat`: the line `cpu` is the sum over the possible CPUs, `cpuN` is one that is online. Modes are
//! user, nice, system, idle, iowait, irq, softirq and steal; `guest` and `guest_nice` follow and are part of user and nice.

use super::text::{Malformed, lines, number};

/// Ticks in a second: `USER_HZ`, 100 on every architecture that is supported.
const TICKS: u64 = 100;

/// The modes of CPU time, in the order of the columns, as the kernel calls them.
pub const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// Ticks by mode, in the order of [`MODES`].
pub type Ticks = [u64; MODES.len()];

/// CPU times and number of CPUs of `/proc/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Sum over all CPUs.
    pub ticks: Ticks,
    /// CPUs that are online.
    pub cpus: u64,
}

/// Reads the text of `/proc/stat`.
pub fn parse(text: &str) -> Result<Stat, Malformed> {
    let (mut ticks, mut cpus) = (None, 0);
    for (line, words) in lines(text)? {
        let mut words = words.split_ascii_whitespace();
        match words.next().and_then(|name| name.strip_prefix("cpu")) {
            Some("") => {
                let mut read = Ticks::default();
                for (index, value) in read.iter_mut().enumerate() {
                    let word = words.next().ok_or(Malformed::Short { line, words: index + 1 })?;
                    *value = number(word, line)?;
                }
                ticks = Some(read);
            }
            Some(id) if id.bytes().all(|byte| byte.is_ascii_digit()) => cpus += 1,
            // Everything about CPUs comes first.
            _ => break,
        }
    }
    Ok(Stat { ticks: ticks.ok_or(Malformed::Missing("cpu"))?, cpus })
}

/// Ticks as seconds.
#[expect(clippy::cast_precision_loss, reason = "a hundred thousand years fit")]
pub fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS as f64
}

/// Reads the text of `/proc/uptime`: seconds since the machine was started, suspended time included.
pub fn uptime(text: &str) -> Result<f64, Malformed> {
    let (line, words) = lines(text)?.next().ok_or(Malformed::Missing("uptime"))?;
    let word = words.split_ascii_whitespace().next().ok_or(Malformed::Short { line, words: 0 })?;
    let (whole, hundredths) = word.split_once('.').unwrap_or((word, "0"));
    let (whole, hundredths) = (number(whole, line)?, number(hundredths, line)?);
    Ok(seconds(whole.saturating_mul(TICKS).saturating_add(hundredths.min(TICKS - 1))))
}

/// Ticks that never go back. The kernel's iowait, and with it idle, may decrease by some ticks (`get_iowait_time` in
/// `kernel/time/tick-sched.c` reads without a lock, and a CPU that comes back online begins again).
#[derive(Debug, Default)]
pub struct CpuTotals(Ticks);

impl CpuTotals {
    /// The larger of what is and what was, for each mode.
    pub fn take(&mut self, now: Ticks) -> Ticks {
        for (last, now) in self.0.iter_mut().zip(now) {
            *last = now.max(*last);
        }
        self.0
    }
}
