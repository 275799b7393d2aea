//! What `connscope check` says of the logs: how many there are, and how many can be read.

use super::NAME;
use super::config::Logs as Settings;
use super::find::{Finder, Found};
use super::follow;
use super::labels::LogSource;
use crate::host::inventory::Inventory;
use crate::reading::SourceError;
use crate::source::{Check, Requirement};
use std::sync::Arc;

/// What reading logs takes.
pub(super) const CAPABILITY: &str = "CAP_DAC_READ_SEARCH";

/// What each part takes.
pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        capabilities: &[CAPABILITY],
        files: &["/var/lib/docker", "/sys/fs/cgroup"],
        ..Requirement::of("docker")
    },
    Requirement {
        capabilities: &[CAPABILITY],
        files: &["/var/log/pods", "/var/log/containers", "/sys/fs/cgroup"],
        ..Requirement::of("cri")
    },
    Requirement { capabilities: &[CAPABILITY], ..Requirement::of("files that only root may read") },
];

/// Looks for logs, and tries to open each.
pub(super) fn check(settings: &Settings, inventory: &Arc<Inventory>) -> Vec<Check> {
    let mut finder = Finder::new(settings, inventory);
    let mut checks = Vec::new();
    if settings.docker || settings.cri {
        let found = inventory.refresh().map(|()| finder.containers());
        for (on, source) in [(settings.docker, LogSource::Docker), (settings.cri, LogSource::Cri)] {
            if on {
                let found = found.as_ref().map_err(|error| error.again("looking for containers"));
                checks.push(of(source, found.map(|found| found.as_slice())));
            }
        }
    }
    if !settings.files.is_empty() {
        checks.push(of(LogSource::File, Ok(&finder.files())));
    }
    checks
}

/// How many logs of a kind can be read; the first error where some cannot.
fn of(source: LogSource, found: Result<&[Found], SourceError>) -> Check {
    let result = found.and_then(|found| {
        let found: Vec<&Found> = found.iter().filter(|found| found.source == source).collect();
        let errors: Vec<_> =
            found.iter().filter_map(|found| Some((found, follow::open(&found.path).err()?))).collect();
        let count = format!("{} of {} logs can be read", found.len() - errors.len(), found.len());
        match errors.into_iter().next() {
            _ if found.is_empty() => Err(SourceError::absent("looking for logs", "there are none")),
            Some((found, error)) => Err(SourceError::from_io(
                format!("{count}; opening {}", found.path.display()),
                CAPABILITY,
                error,
            )),
            None => Ok(count),
        }
    });
    Check::new(NAME, source.word(), result)
}

/// What is not there may come; what may not be read is for the operator.
pub(super) fn suffices(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.works() || check.status == "absent")
}
