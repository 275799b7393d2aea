//! The table as a whole: entries, limit, buckets and what else its sysctls say.
//!
//! Directories and file names are configured as Telegraf's `inputs.conntrack` takes them: every file is looked for in
//! every directory, missing ones are skipped, and `ip_conntrack_count` and `nf_conntrack_count` are the same
//! number. `nf_conntrack_max` and the buckets are one for all network namespaces; entries are counted in each.

use super::netlink::Global;
use crate::metric::Label;
use crate::reading::{Readings, SourceError};
use crate::source::conntrack::config::Table as Settings;
use crate::source::conntrack::metrics;
use crate::source::conntrack::metrics::SYSCTL_FILES;
use crate::sys::KeptFile;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the sysctls are: a directory and the prefix of the files in it. The first is that of every kernel of
/// today, the second that of the old ones, which newer ones had for compatibility for a while.
const GENERATIONS: [(&str, &str); 2] =
    [("/proc/sys/net/netfilter", "nf_conntrack_"), ("/proc/sys/net/ipv4/netfilter", "ip_conntrack_")];

/// Where files that are configured without a directory are looked for.
const DIRS: &[&str] = &["/proc/sys/net/ipv4/netfilter", "/proc/sys/net/netfilter"];

/// What is looked for in directories that are configured without files.
const FILES: &[&str] = &[
    "ip_conntrack_count",
    "ip_conntrack_max",
    "ip_conntrack_buckets",
    "nf_conntrack_count",
    "nf_conntrack_max",
    "nf_conntrack_buckets",
];

/// A sysctl holds one number; more is not read.
const MOST: u64 = 4096;

/// What is known of the table in one network namespace.
#[derive(Debug, Default)]
pub struct Table {
    /// Entries in it.
    pub usage: Option<u64>,
    /// Entries it may hold; 0 is no limit.
    pub limit: Option<u64>,
    /// Buckets of its hash.
    pub buckets: Option<u64>,
    /// Further sysctls, by their name without prefix.
    pub sysctls: Vec<(Arc<str>, f64)>,
    /// Files that are there and gave no number.
    pub unreadable: Vec<(String, SourceError)>,
}

/// The name all generations of a file share: what follows the first underscore, as Telegraf has it.
fn name(file: &str) -> &str {
    file.split_once('_').map_or(file, |(_, name)| name)
}

/// Sysctls that are read: those of the module, or the configured ones.
#[derive(Debug)]
pub enum Sysctls {
    /// Count, limit and buckets, where this kernel has them. The files of the buckets, of which netlink does not tell, stay
    /// open.
    Standard([KeptFile; GENERATIONS.len()]),
    /// Every file in every directory.
    Configured(Vec<PathBuf>),
}

impl Sysctls {
    /// What the configuration says; a list that is empty stands for the usual ones.
    pub fn new(settings: &Settings) -> Self {
        if settings.dirs.is_empty() && settings.files.is_empty() {
            let buckets = GENERATIONS.map(|(dir, prefix)| Path::new(dir).join(format!("{prefix}buckets")));
            return Self::Standard(buckets.map(KeptFile::new));
        }
        let or = |configured: &[String], usual: &[&str]| match configured {
            [] => usual.iter().map(ToString::to_string).collect(),
            configured => configured.to_vec(),
        };
        let files = or(&settings.files, FILES);
        let dirs = or(&settings.dirs, DIRS);
        Self::Configured(
            dirs.iter().flat_map(|dir| files.iter().map(|file| Path::new(dir).join(file))).collect(),
        )
    }

    /// Reads them in the calling thread's network namespace. Netlink is asked first for what the standard ones say, where
    /// `ask` may: one question is cheaper than two files.
    pub fn read(&self, ask: impl FnOnce() -> Option<Global>) -> Table {
        let mut table = Table::default();
        match self {
            Self::Configured(paths) => {
                for path in paths {
                    table.read(path);
                }
                table.complete(ask);
            }
            Self::Standard(buckets) => {
                table.complete(ask);
                for ((dir, prefix), buckets) in GENERATIONS.iter().zip(buckets) {
                    for (name, known) in [("count", table.usage.is_some()), ("max", table.limit.is_some())] {
                        if !known {
                            table.read(&Path::new(dir).join(format!("{prefix}{name}")));
                        }
                    }
                    if table.buckets.is_none() {
                        table.take(buckets.path(), buckets.read());
                    }
                    if table.buckets.is_some() || table.limit.is_some() {
                        break;
                    }
                }
            }
        }
        table
    }
}

impl Table {
    /// Reads one file, if it is there. One that gives no number does not take the others with it.
    fn read(&mut self, path: &Path) {
        self.take(path, crate::sys::read_limited(path, MOST));
    }

    /// Takes the text of one file.
    fn take(&mut self, path: &Path, text: std::io::Result<String>) {
        let doing = || format!("reading {}", path.display());
        let error = match text {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return,
            Err(cause) => SourceError::from_io(doing(), "the permission to read it", cause),
            Ok(text) => {
                let value = text.trim();
                let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
                if self.set(name(file), value).is_some() {
                    return;
                }
                SourceError::parse(doing(), format!("`{}` is not a number", super::fields::cut(value)))
            }
        };
        self.unreadable.push((path.display().to_string(), error));
    }

    /// Takes one sysctl; `None` if its value is not a number.
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "conntrack_count" => self.usage = Some(value.parse().ok()?),
            "conntrack_max" => self.limit = Some(value.parse().ok()?),
            "conntrack_buckets" => self.buckets = Some(value.parse().ok()?),
            _ => {
                let value: f64 = value.parse().ok().filter(|value: &f64| value.is_finite())?;
                let known = self.sysctls.iter().any(|(present, _)| **present == *name);
                if !known && self.sysctls.len() < SYSCTL_FILES {
                    self.sysctls.push((name.into(), value));
                }
            }
        }
        Some(())
    }

    /// Fills in from netlink what is not known yet.
    fn complete(&mut self, ask: impl FnOnce() -> Option<Global>) {
        if (self.usage.is_none() || self.limit.is_none())
            && let Some(global) = ask()
        {
            self.usage = self.usage.or(global.entries);
            self.limit = self.limit.or(global.limit);
        }
    }

    /// Observes what is known.
    pub fn observe(&self, labels: &[(Label, Arc<str>)], out: &mut Readings) {
        if let Some(usage) = self.usage {
            out.observe(metrics::CONNTRACK_TABLE_USAGE, labels, usage);
        }
        if let Some(limit) = self.limit {
            out.observe(metrics::CONNTRACK_TABLE_LIMIT, labels, limit);
        }
        if let Some(utilization) = self.utilization() {
            out.observe(metrics::CONNTRACK_TABLE_UTILIZATION, labels, utilization);
        }
        if let Some(buckets) = self.buckets {
            out.observe(metrics::CONNTRACK_TABLE_BUCKETS, labels, buckets);
        }
        for (sysctl, value) in &self.sysctls {
            let mut labels = labels.to_vec();
            labels.push((Label::Sysctl, Arc::clone(sysctl)));
            out.observe(metrics::CONNTRACK_TABLE_SYSCTL, &labels, *value);
        }
    }

    /// Share of the limit in use; none where there is no limit.
    #[expect(clippy::cast_precision_loss, reason = "entries stay far below 2^53")]
    fn utilization(&self) -> Option<f64> {
        match (self.usage, self.limit) {
            (Some(usage), Some(limit)) if limit > 0 => Some(usage as f64 / limit as f64),
            _ => None,
        }
    }
}
