//! The connection tracking table: usage, limit, buckets and further sysctls.
//!
//! Directories and file names are configured as for Telegraf's `inputs.conntrack`: every file is looked up in every
//! directory, missing files are skipped, and `ip_conntrack_count` and `nf_conntrack_count` are the same value.
//! `nf_conntrack_max` and the buckets are the same for all network namespaces; entries are counted in each.

use super::netlink::Global;
use crate::metric::Label;
use crate::reading::{Readings, SourceError};
use crate::source::conntrack::config::Table as Settings;
use crate::source::conntrack::metrics;
use crate::source::conntrack::metrics::SYSCTL_FILES;
use crate::sys::KeptFile;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Directories of the sysctls and the prefix of their files: first those of current kernels, then those of old kernels,
/// which some newer kernels also have for compatibility.
const GENERATIONS: [(&str, &str); 2] =
    [("/proc/sys/net/netfilter", "nf_conntrack_"), ("/proc/sys/net/ipv4/netfilter", "ip_conntrack_")];

/// Default directories of configured files.
const DIRS: &[&str] = &["/proc/sys/net/ipv4/netfilter", "/proc/sys/net/netfilter"];

/// Default files of configured directories.
const FILES: &[&str] = &[
    "ip_conntrack_count",
    "ip_conntrack_max",
    "ip_conntrack_buckets",
    "nf_conntrack_count",
    "nf_conntrack_max",
    "nf_conntrack_buckets",
];

/// Maximum number of bytes read of a sysctl file, which has one number.
const MAX_BYTES: u64 = 4096;

/// The state of the table in one network namespace.
#[derive(Debug, Default)]
pub struct Table {
    /// Entries in the table.
    pub usage: Option<u64>,
    /// Maximum number of entries; 0 means no limit.
    pub limit: Option<u64>,
    /// Buckets of the hash table.
    pub buckets: Option<u64>,
    /// Further sysctls, by name without prefix.
    pub sysctls: Vec<(Arc<str>, f64)>,
    /// Files that exist and have no number.
    pub unreadable: Vec<(String, SourceError)>,
}

/// The name that all generations of a file share: the part after the first underscore, as in Telegraf.
pub(super) fn name(file: &str) -> &str {
    file.split_once('_').map_or(file, |(_, name)| name)
}

/// Sysctls that are read: those of the module, or the configured ones.
#[derive(Debug)]
pub enum Sysctls {
    /// Usage, limit and buckets, if this kernel has them. The files of the buckets, which netlink does not report, stay
    /// open.
    Standard([KeptFile; GENERATIONS.len()]),
    /// Every file in every directory.
    Configured(Vec<PathBuf>),
}

impl Sysctls {
    /// Files from the configuration; an empty list means the defaults.
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

    /// Reads the sysctls in the calling thread's network namespace. If `ask` returns the standard values, their files
    /// are not read: one netlink request is cheaper than two files.
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
    /// Reads a file, if it exists. A file without a number does not affect the others.
    fn read(&mut self, path: &Path) {
        self.take(path, crate::sys::read_limited(path, MAX_BYTES));
    }

    /// Parses the text of a file.
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

    /// Sets the value of a sysctl; `None` if it is not a number.
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "conntrack_count" => self.usage = Some(value.parse().ok()?),
            "conntrack_max" => self.limit = Some(value.parse().ok()?),
            "conntrack_buckets" => self.buckets = Some(value.parse().ok()?),
            _ => {
                self.add(&name.into(), value.parse().ok().filter(|value: &f64| value.is_finite())?);
            }
        }
        Some(())
    }

    /// Adds a further sysctl, unless there is one of that name.
    pub fn add(&mut self, name: &Arc<str>, value: f64) {
        let known = self.sysctls.iter().any(|(present, _)| present == name);
        if !known && self.sysctls.len() < SYSCTL_FILES {
            self.sysctls.push((Arc::clone(name), value));
        }
    }

    /// Sets values that are still missing from netlink.
    fn complete(&mut self, ask: impl FnOnce() -> Option<Global>) {
        if (self.usage.is_none() || self.limit.is_none())
            && let Some(global) = ask()
        {
            self.usage = self.usage.or(global.entries);
            self.limit = self.limit.or(global.limit);
        }
    }

    /// Observes the values that were read.
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
        if let (Some(usage), Some(buckets)) = (self.usage, self.buckets.filter(|buckets| *buckets > 0)) {
            out.observe(metrics::CONNTRACK_TABLE_LOAD, labels, fraction(usage, buckets));
        }
        for (sysctl, value) in &self.sysctls {
            let mut labels = labels.to_vec();
            labels.push((Label::Sysctl, Arc::clone(sysctl)));
            out.observe(metrics::CONNTRACK_TABLE_SYSCTL, &labels, *value);
        }
    }

    /// Fraction of the limit in use; `None` without a limit.
    fn utilization(&self) -> Option<f64> {
        match (self.usage, self.limit) {
            (Some(usage), Some(limit)) if limit > 0 => Some(fraction(usage, limit)),
            _ => None,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "entries stay far below 2^53")]
fn fraction(usage: u64, of: u64) -> f64 {
    usage as f64 / of as f64
}
