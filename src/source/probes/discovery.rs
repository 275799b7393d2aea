//! Targets from files and DNS names, which are checked for changes regularly.
//!
//! Files are read and compared, not watched: inotify does not work over NFS, nor for the symbolic links that Kubernetes
//! replaces in a volume. An invalid file leaves its targets unchanged, and is reported.

use super::registry::{PanicGuard, TargetChanges};
use super::runner::{Runner, RunnerContext};
use super::target::Target;
use crate::metric::label::key::{KEYS, Key};
use crate::source::probes::config::Target as Settings;
use crate::text::{LONGEST_NAME, bounded};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub mod dns;
pub mod file_sd;
pub mod trust;

/// Maximum size of a target file.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Size of a file above which the memory of reading it is returned to the system at once, bytes.
const LARGE: usize = 1024 * 1024;

/// Maximum average size of the labels per target over all files, bytes: each of about seventy series has them.
const LABELS: usize = 512;

/// Length and hash of the content of a file at the last read; `None` if it could not be read.
type FileFingerprint = Option<(usize, u64)>;

/// The target files, and their content at the last check.
#[derive(Debug, Default)]
pub struct Files {
    seen: BTreeMap<PathBuf, FileFingerprint>,
    /// Files that are read again although they have not changed: some targets were left out and may fit later, or could
    /// not be created and may succeed later.
    again: BTreeSet<PathBuf>,
    /// Total size of the labels of the targets of each file, bytes.
    labels: BTreeMap<PathBuf, usize>,
    /// Patterns whose directory has existed.
    known: BTreeSet<String>,
    /// Patterns whose directory has never existed.
    pub missing: BTreeSet<String>,
}

impl Files {
    /// Checks all files, and adds and removes targets.
    pub fn refresh(&mut self, common: &RunnerContext) -> Vec<TargetChanges> {
        let mut changes = Vec::new();
        let mut there = BTreeSet::new();
        for pattern in &common.settings.files {
            let group = format!("files {pattern}");
            match matching(pattern) {
                Ok(found) => {
                    common.registry.clear_failure(&group);
                    there.extend(found);
                    self.known.insert(pattern.clone());
                    self.missing.remove(pattern);
                }
                // The directory was never created. If it existed before, its volume may be missing, which is an error.
                Err(error) if error.kind() == ErrorKind::NotFound && !self.known.contains(pattern) => {
                    if self.missing.insert(pattern.clone()) {
                        tracing::warn!(
                            "{pattern}: the directory does not exist yet; no targets are read from it"
                        );
                    }
                }
                // A file that cannot be read may still exist.
                Err(error) => {
                    common.registry.fail(&group, format!("{pattern}: cannot be searched: {error}"));
                    let known = glob::Pattern::new(pattern).ok();
                    let known =
                        |path: &&PathBuf| known.as_ref().is_some_and(|known| known.matches_path(path));
                    there.extend(self.seen.keys().filter(known).cloned());
                }
            }
        }
        for path in &there {
            if let Some(change) = self.read(path, common) {
                changes.push(change);
            }
        }
        let gone: Vec<PathBuf> = self.seen.keys().filter(|path| !there.contains(*path)).cloned().collect();
        for path in gone {
            self.seen.remove(&path);
            self.again.remove(&path);
            self.labels.remove(&path);
            changes.push(common.registry.forget(&path.display().to_string()));
        }
        // While files are read one after the other, a target that moved between files was there twice.
        if changes.iter().any(|change| !change.removed.is_empty()) {
            for path in self.again.clone() {
                changes.extend(self.read(&path, common));
            }
        }
        changes
    }

    fn read(&mut self, path: &Path, common: &RunnerContext) -> Option<TargetChanges> {
        let group = path.display().to_string();
        let doing = format!("reading {group}: its targets stay as they were");
        let _guard = PanicGuard { registry: &common.registry, group: &group, doing: &doing };
        let read = text(path);
        let text = match read {
            Ok(text) => text,
            Err(error) => {
                common.registry.fail(&group, format!("{group}: cannot be read: {error}"));
                // Recorded as unread, so that the next success is logged.
                self.seen.insert(path.to_owned(), None);
                return None;
            }
        };
        let seen = Some((text.len(), hash(&text)));
        let same = self.seen.insert(path.to_owned(), seen) == Some(seen);
        // Removed first: if the read panics, the other files are still checked.
        if !self.again.remove(path) && same {
            return None;
        }
        let json = path.extension().is_some_and(|end| end == "json");
        let most = common.registry.limit;
        let listed = file_sd::read(&text, json, most);
        let large = text.len() > LARGE;
        drop(text);
        if large {
            crate::sys::memory::give_back();
        }
        let file_sd::FileTargets { targets: listed, beyond } = match listed {
            Ok(listed) => listed,
            Err(why) => {
                common.registry.fail(&group, format!("{group}:{why}"));
                return None;
            }
        };
        if let Some(why) = refused(&listed, path).filter(|_| !common.settings.trust_files) {
            common.registry.fail(&group, format!("{group}: {why}"));
            return None;
        }
        let labels: usize = listed.iter().map(Settings::label_bytes).sum();
        let others: usize =
            self.labels.iter().filter(|(other, _)| *other != path).map(|(_, bytes)| bytes).sum();
        let room = most.saturating_mul(LABELS).saturating_sub(others);
        if labels > room {
            let why =
                format!("the labels of its targets have {labels} bytes in total, and only {room} are left");
            let how = format!("the limit for all files is {LABELS} times sources.probes.limit");
            common.registry.fail(&group, format!("{group}: {why}: {how}"));
            self.again.insert(path.to_owned());
            return None;
        }
        let keys = listed.iter().flat_map(|target| target.labels.keys().map(String::as_str));
        if let Some(key) = Key::too_many(keys) {
            common
                .registry
                .fail(&group, format!("{group}: the label `{key}` exceeds the limit of {KEYS} labels"));
            return None;
        }
        let made = listed.into_iter().map(|target| Target::new(&Arc::new(target), &common.settings));
        let change = match made.collect::<Result<Vec<Target>, String>>() {
            Ok(targets) => {
                let change = common.registry.set(&group, targets);
                common.registry.leave_out(&group, beyond);
                self.labels.insert(path.to_owned(), labels);
                Some(change)
            }
            Err(why) => {
                common.registry.fail(&group, format!("{group}: {why}"));
                None
            }
        };
        if change.as_ref().is_none_or(|change| change.short) {
            self.again.insert(path.to_owned());
        }
        change
    }
}

/// The reason why the targets of this file are refused; `None` if they are accepted.
fn refused(targets: &[Settings], path: &Path) -> Option<String> {
    let (target, what) = targets.iter().find_map(|target| Some((target, trust::privileged(target)?)))?;
    let name = bounded(&target.name, LONGEST_NAME);
    let whose = match trust::writable_by_others(path) {
        Ok(None) => return None,
        Ok(Some(part)) => {
            format!("{} can be changed by others than root and the agent's user", part.display())
        }
        Err(error) => format!("cannot check who may write the file: {error}"),
    };
    Some(format!("`{name}` {what}, and {whose}: remove that permission, or set sources.probes.trust_files"))
}

/// The files that match a pattern, of which only the last part may contain `*`.
fn matching(pattern: &str) -> Result<Vec<PathBuf>, std::io::Error> {
    let dir = Path::new(pattern).parent().filter(|dir| !dir.as_os_str().is_empty());
    // `glob` treats a missing or inaccessible directory as empty.
    std::fs::read_dir(dir.unwrap_or(Path::new(".")))?;
    let found = glob::glob(pattern).map_err(std::io::Error::other)?;
    found.map(|path| path.map_err(std::io::Error::from)).collect()
}

/// The text of a target file. A longer file is refused, because a truncated one may be a valid list with fewer targets.
fn text(path: &Path) -> std::io::Result<String> {
    let bytes = crate::sys::read_regular(path, MAX_FILE_BYTES).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => {
            std::io::Error::other(format!("it has more than {} MiB", MAX_FILE_BYTES >> 20))
        }
        _ => error,
    })?;
    String::from_utf8(bytes).map_err(std::io::Error::other)
}

fn hash(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Starts the tasks that check files and names.
pub fn start(common: &Arc<RunnerContext>, runner: &Runner) {
    let settings = &common.settings;
    let names = settings.dns.iter().map(|names| names.names.len()).sum::<usize>();
    common.registry.expect_groups(names + usize::from(!settings.files.is_empty()));
    if !settings.files.is_empty() {
        runner.runtime.spawn(files(Arc::clone(common), runner.clone()));
    }
    for (index, names) in settings.dns.iter().enumerate() {
        for name in &names.names {
            let watched = dns::DnsName::new(index, name);
            runner.runtime.spawn(follow(watched, Arc::clone(common), runner.clone()));
        }
    }
}

/// Checks the files repeatedly. Reading may be slow, so it runs on a blocking thread.
async fn files(common: Arc<RunnerContext>, runner: Runner) {
    const GROUP: &str = "files";
    let files = Arc::new(Mutex::new(Files::default()));
    let mut first = true;
    loop {
        let (shared, known) = (Arc::clone(&common), Arc::clone(&files));
        // A check that panicked leaves the earlier state.
        let look = move || known.lock().unwrap_or_else(PoisonError::into_inner).refresh(&shared);
        match tokio::task::spawn_blocking(look).await {
            Ok(changes) => {
                common.registry.clear_failure(GROUP);
                // Sent as one change, so that the targets of many small files are spread over their interval together.
                runner.send(TargetChanges::of(changes));
            }
            Err(error) if error.is_panic() => common.registry.panicked(GROUP, "checking target files"),
            Err(_) => return, // the agent is stopping
        }
        if std::mem::take(&mut first) {
            common.registry.first_read_done();
        }
        tokio::time::sleep(common.settings.refresh).await;
    }
}

/// Looks up a name repeatedly.
async fn follow(watched: dns::DnsName, common: Arc<RunnerContext>, runner: Runner) {
    let watched = Arc::new(tokio::sync::Mutex::new(watched));
    let group = watched.lock().await.group();
    let mut first = true;
    loop {
        let (shared, known) = (Arc::clone(&common), Arc::clone(&watched));
        match tokio::spawn(async move { known.lock().await.refresh(&shared).await }).await {
            Ok(change) => change.into_iter().for_each(|change| runner.send(change)),
            Err(error) if error.is_panic() => {
                common.registry.panicked(&group, &format!("making targets of {group}"));
            }
            Err(_) => return, // the agent is stopping
        }
        if std::mem::take(&mut first) {
            common.registry.first_read_done();
        }
        tokio::time::sleep(common.settings.refresh).await;
    }
}
