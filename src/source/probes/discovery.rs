//! Targets from files and DNS names, which are checked for changes regularly.
//!
//! Files are read and compared, not watched: the kernel's notices do not come over NFS, nor through the links that
//! Kubernetes swaps under a volume. An invalid file leaves the targets as they were, and is reported.

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
const MOST: u64 = 16 * 1024 * 1024;

/// Bytes of a file from which on the memory that its reading took is given back at once.
const LARGE: usize = 1024 * 1024;

/// Bytes of labels for each target there may be, on average over all files: they stand in each of some seventy series.
const LABELS: usize = 512;

/// Length and sum of what was in a file when it was last read; none where it could not be.
type FileFingerprint = Option<(usize, u64)>;

/// The files, and what they looked like.
#[derive(Debug, Default)]
pub struct Files {
    seen: BTreeMap<PathBuf, FileFingerprint>,
    /// Files that are read again though they have not changed. Not all of their targets were taken: what goes elsewhere
    /// may make room for them; or could not be made: a file that they name may come.
    again: BTreeSet<PathBuf>,
    /// Bytes of the labels of all targets of a file that were taken.
    labels: BTreeMap<PathBuf, usize>,
    /// Patterns whose directory was there once.
    known: BTreeSet<String>,
    /// Patterns whose directory was never there.
    pub missing: BTreeSet<String>,
}

impl Files {
    /// Checks all files, and adds and removes targets.
    pub fn look(&mut self, common: &RunnerContext) -> Vec<TargetChanges> {
        let mut changes = Vec::new();
        let mut there = BTreeSet::new();
        for pattern in &common.settings.files {
            let place = format!("files {pattern}");
            match matching(pattern) {
                Ok(found) => {
                    common.registry.heal(&place);
                    there.extend(found);
                    self.known.insert(pattern.clone());
                    self.missing.remove(pattern);
                }
                // Nobody has put anything there yet. One that was there is another matter: its volume may be gone.
                Err(error) if error.kind() == ErrorKind::NotFound && !self.known.contains(pattern) => {
                    if self.missing.insert(pattern.clone()) {
                        tracing::warn!(
                            "{pattern}: the directory does not exist yet; no targets are read from it"
                        );
                    }
                }
                // What cannot be looked at may be there still.
                Err(error) => {
                    common.registry.fail(&place, format!("{pattern}: cannot be searched: {error}"));
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
        // A target that has moved from one file to another was there twice until the former was read.
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
                // Once it can be read, it is read again, and that is logged.
                self.seen.insert(path.to_owned(), None);
                return None;
            }
        };
        let seen = Some((text.len(), hash(&text)));
        let same = self.seen.insert(path.to_owned(), seen) == Some(seen);
        // Not again where that panics: the others would never have their turn.
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

/// Why the targets of this file are refused; `None` if they are accepted.
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

/// The files of a pattern, of which only the last part may have `*`.
fn matching(pattern: &str) -> Result<Vec<PathBuf>, std::io::Error> {
    let dir = Path::new(pattern).parent().filter(|dir| !dir.as_os_str().is_empty());
    // `glob` takes a directory that it cannot look at, or that is not there, for one without files.
    std::fs::read_dir(dir.unwrap_or(Path::new(".")))?;
    let found = glob::glob(pattern).map_err(std::io::Error::other)?;
    found.map(|path| path.map_err(std::io::Error::from)).collect()
}

/// The text of a file of targets. What is cut off in the middle may well be a list, of fewer targets: a longer one is refused.
fn text(path: &Path) -> std::io::Result<String> {
    let bytes = crate::sys::read_regular(path, MOST).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => std::io::Error::other(format!("it has more than {} MiB", MOST >> 20)),
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

/// Starts the checks of files and names.
pub fn start(common: &Arc<RunnerContext>, runner: &Runner) {
    let settings = &common.settings;
    let names = settings.dns.iter().map(|names| names.names.len()).sum::<usize>();
    common.registry.expect(names + usize::from(!settings.files.is_empty()));
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

/// Looks at the files repeatedly. A file may be where reading takes its time, so that nobody waits for it here.
async fn files(common: Arc<RunnerContext>, runner: Runner) {
    const GROUP: &str = "files";
    let files = Arc::new(Mutex::new(Files::default()));
    let mut first = true;
    loop {
        let (shared, known) = (Arc::clone(&common), Arc::clone(&files));
        // What was known when a look ended in a panic is known still.
        let look = move || known.lock().unwrap_or_else(PoisonError::into_inner).look(&shared);
        match tokio::task::spawn_blocking(look).await {
            Ok(changes) => {
                common.registry.heal(GROUP);
                // As one, so that the targets of many small files share their interval, too.
                runner.tell(TargetChanges::of(changes));
            }
            Err(error) if error.is_panic() => common.registry.panicked(GROUP, "checking target files"),
            Err(_) => return, // the agent is stopping
        }
        if std::mem::take(&mut first) {
            common.registry.looked();
        }
        tokio::time::sleep(common.settings.refresh).await;
    }
}

/// Looks a name up repeatedly.
async fn follow(watched: dns::DnsName, common: Arc<RunnerContext>, runner: Runner) {
    let watched = Arc::new(tokio::sync::Mutex::new(watched));
    let group = watched.lock().await.group();
    let mut first = true;
    loop {
        let (shared, known) = (Arc::clone(&common), Arc::clone(&watched));
        match tokio::spawn(async move { known.lock().await.look(&shared).await }).await {
            Ok(change) => change.into_iter().for_each(|change| runner.tell(change)),
            Err(error) if error.is_panic() => {
                common.registry.panicked(&group, &format!("making targets of {group}"));
            }
            Err(_) => return, // the agent is stopping
        }
        if std::mem::take(&mut first) {
            common.registry.looked();
        }
        tokio::time::sleep(common.settings.refresh).await;
    }
}
