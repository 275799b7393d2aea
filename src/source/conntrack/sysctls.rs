//! The time-outs of connection tracking, and what else decides about entries: sysctls of a network namespace.
//!
//! `net/netfilter/nf_conntrack_standalone.c` has a file for each state of each protocol (`nf_conntrack_tcp_timeout_…`),
//! which differ by kernel; so the directory is listed. They are read once a minute, because they hardly ever change and
//! reading thirty files in every cycle would take longer than the counters.

#![expect(clippy::disallowed_methods, reason = "sysctls are read again after a time")]

use super::metrics::SYSCTL_FILES;
use super::module::SYSCTLS;
use super::timeouts;
use crate::sys::namespace::Identity;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Names and values, without the prefix `nf_`.
pub type Rows = Arc<[(Arc<str>, f64)]>;

/// Files besides the time-outs, without `nf_conntrack_`: accounting, time stamps and events of entries, and whether
/// helpers are assigned by themselves (before Linux 6.0).
const FURTHER: &[&str] = &["acct", "timestamp", "events", "helper"];

/// Bytes of a file that are read.
const BYTES: u64 = 64;

/// The sysctls of each network namespace, as they were within the last minute.
#[derive(Debug, Default)]
pub struct Timeouts {
    known: Mutex<HashMap<Identity, Known>>,
}

#[derive(Debug)]
struct Known {
    read: Instant,
    asked: Instant,
    rows: Rows,
}

impl Timeouts {
    fn known(&self) -> MutexGuard<'_, HashMap<Identity, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the calling thread's network namespace.
    pub fn read(&self) -> Rows {
        let Ok(identity) = crate::sys::namespace::identity() else { return list(Path::new(SYSCTLS)) };
        let asked = Instant::now();
        if let Some(known) = self.known().get_mut(&identity)
            && known.read.elapsed() < timeouts::SYSCTLS
        {
            known.asked = asked;
            return Arc::clone(&known.rows);
        }
        let rows = list(Path::new(SYSCTLS));
        let known = Known { read: Instant::now(), asked, rows: Arc::clone(&rows) };
        let mut all = self.known();
        all.retain(|_, known| known.asked.elapsed() < timeouts::SYSCTLS * 10);
        all.insert(identity, known);
        rows
    }
}

/// The time-outs and `FURTHER` sysctls in a directory, by name.
pub fn list(directory: &Path) -> Rows {
    let Ok(files) = std::fs::read_dir(directory) else { return Arc::default() };
    let wanted = |name: &str| {
        let rest = name.strip_prefix("nf_conntrack_")?;
        (rest.contains("timeout") || FURTHER.contains(&rest)).then(|| name.to_owned())
    };
    let mut names: Vec<String> = files.filter_map(|file| wanted(file.ok()?.file_name().to_str()?)).collect();
    names.sort_unstable();
    names.truncate(SYSCTL_FILES);
    let read = |name: &String| {
        let text = crate::sys::read_limited(directory.join(name), BYTES).ok()?;
        let value: f64 = text.trim().parse().ok().filter(|value: &f64| value.is_finite())?;
        Some((super::table::name(name).into(), value))
    };
    names.iter().filter_map(read).collect()
}
