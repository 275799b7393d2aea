//! What `connscope check` says of the logs: how many there are, and how many can be read.

use super::NAME;
use super::config::{Files, Journald, Logs as Settings};
use super::counts::LogOwner;
use super::find::{self, Finder, FoundLog, OpenLog};
use super::labels::LogSource;
use super::{follow, journal};
use crate::host::inventory::Inventory;
use crate::host::process;
use crate::reading::SourceError;
use crate::source::{Check, Requirement};
use std::path::Path;
use std::sync::Arc;

/// Privileges that reading logs needs.
pub(super) const CAPABILITY: &str = "CAP_DAC_READ_SEARCH";

/// Privileges by part of the source.
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
    Requirement {
        capabilities: &[CAPABILITY],
        files: &["/var/log/journal", "/run/log/journal", "/etc/machine-id"],
        ..Requirement::of("journald, unless the group systemd-journal is there")
    },
    Requirement {
        capabilities: &[CAPABILITY, "CAP_SYS_PTRACE"],
        files: &["/proc/PID/fd", "/proc/PID/fdinfo", "/proc/PID/root", "/var/log"],
        kernel: "5.6",
        ..Requirement::of("files: auto")
    },
    Requirement { capabilities: &[CAPABILITY], ..Requirement::of("a list of files that only root may read") },
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
                checks.push(of(source, found.map(Vec::as_slice), closed(source, &finder)));
            }
        }
    }
    if settings.journald != Journald::Off {
        checks.push(Check::new(NAME, LogSource::Journald.word(), journals(settings, inventory)));
    }
    match &settings.files {
        Files::Auto => {
            checks.push(Check::new(NAME, LogSource::File.word(), open_files(&mut finder, inventory)));
        }
        Files::Off => {}
        Files::Paths(patterns) => {
            checks.push(matched(patterns, &inventory.settings().root));
        }
    }
    checks
}

/// Why nothing can be said of an engine's logs: a directory that they are found by is there and may not be read.
fn closed(source: LogSource, finder: &Finder) -> Option<SourceError> {
    let places = if source == LogSource::Docker { finder.docker_places() } else { finder.kubelet_places() };
    places.into_iter().find_map(|place| {
        let error = std::fs::read_dir(&place).err()?;
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        denied.then(|| {
            SourceError::from_io(format!("looking for logs in {}", place.display()), CAPABILITY, error)
        })
    })
}

/// How many of the files of a list can be read, and what else is there under these names.
fn matched(patterns: &[String], root: &Path) -> Check {
    let (regular, others): (Vec<_>, Vec<_>) =
        find::of_patterns(patterns, root).partition(|matched| matched.is_regular);
    let found = regular.into_iter().map(|matched| {
        let subject = LogOwner::File(matched.name.into());
        FoundLog { path: matched.path, subject, source: LogSource::File, ended: false, open: None }
    });
    let mut check = of(LogSource::File, Ok(&found.collect::<Vec<_>>()), None);
    if let Some(other) = others.first() {
        let more =
            format!("; {} are links, FIFOs or devices, such as {}", others.len(), other.path.display());
        check.detail.push_str(&more);
    }
    check
}

/// Where the journal is, and how many of its files can be read.
fn journals(settings: &Settings, inventory: &Inventory) -> Result<String, SourceError> {
    let journal = journal::list(&inventory.settings().root, &settings.journald)?;
    let errors: Vec<_> =
        journal.files.iter().filter_map(|(path, _)| Some((path, follow::open(path).err()?))).collect();
    // All are in one directory below the place, as a rule.
    let directory = journal.files.first().and_then(|(path, _)| path.parent()).unwrap_or(&journal.directory);
    let all = journal.files.len();
    match errors.into_iter().next() {
        None => Ok(format!("{}, {all} file{}", directory.display(), if all == 1 { "" } else { "s" })),
        Some((path, error)) => {
            Err(SourceError::from_io(format!("opening {}", path.display()), journal::CAPABILITY, error))
        }
    }
}

/// How many files are open, and whether they can be opened.
fn open_files(finder: &mut Finder, inventory: &Inventory) -> Result<String, SourceError> {
    inventory.refresh()?;
    let files = finder.open_files();
    let all = files.len();
    let Some((way, refused, closed, denied)) = finder.how() else { return Ok(String::new()) };
    let mut found = format!("{way}: {} open", all + closed);
    if let Some(refused) = refused {
        found = format!("{found}; no program in the kernel: {refused}");
    }
    let error = |doing: String| SourceError::Denied { doing, capability: find::OPEN_FILES, cause: None };
    if closed > 0 {
        return Err(error(format!("opening files that containers have open: {closed} are closed; {found}")));
    }
    if process::are_hidden() {
        return Err(error(format!(
            "looking for open files: /proc hides the processes of others (hidepid); {found}"
        )));
    }
    if denied > 0 {
        return Err(error(format!("looking for open files: {denied} processes are closed; {found}")));
    }
    let may_read = |open: &OpenLog, path: &Path| match &open.descriptor {
        Some(descriptor) => follow::open_descriptor(descriptor),
        None => follow::open(&find::below(&open.root, path)),
    };
    for file in &files {
        if let Some(Err(cause)) = file.open.as_ref().map(|open| may_read(open, &file.path)) {
            let doing = format!("{found}; opening {}", file.path.display());
            return Err(SourceError::from_io(doing, CAPABILITY, cause));
        }
    }
    Ok(found)
}

/// How many logs of a kind can be read; the first error where some cannot, and where there are none, whether it is only
/// that the files of the engine are closed.
fn of(source: LogSource, found: Result<&[FoundLog], SourceError>, closed: Option<SourceError>) -> Check {
    let result = found.and_then(|found| {
        let found: Vec<&FoundLog> = found.iter().filter(|found| found.source == source).collect();
        let errors: Vec<_> =
            found.iter().filter_map(|found| Some((found, follow::open(&found.path).err()?))).collect();
        let count = format!("{} of {} logs can be read", found.len() - errors.len(), found.len());
        match errors.into_iter().next() {
            _ if found.is_empty() => {
                let none = || SourceError::absent("looking for logs", "there are none");
                Err(closed.unwrap_or_else(none))
            }
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
