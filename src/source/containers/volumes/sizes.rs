//! Sizes of mounted file systems, asked on a thread of its own: `statfs` waits for as long as whoever serves the file system
//! does, which may be for ever.
//!
//! A thread that does not answer in time is left to itself, with the mount that it asks for; another one goes on with the rest.
//! That mount is not asked for again while the thread is there.

use super::mountinfo::BlockMount;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, fstatvfs, major, minor, open, openat2};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Time limit of `statfs` for one mount.
const ANSWER: Duration = Duration::from_millis(250);

/// Threads that hang at the same time; after that no mount is asked for until one of them comes back.
const HANGING: usize = 8;

/// Sizes of a mounted file system, bytes, as `df` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// All of it.
    pub(super) capacity: u64,
    /// In use.
    pub(super) usage: u64,
    /// Free for users other than root.
    pub(super) available: u64,
    /// Free, and kept for root.
    pub(super) reserved: u64,
}

/// Device and mount point.
type MountKey = ((u32, u32), Arc<[u8]>);

/// A mount that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// A process of the container.
    pub(super) process: u32,
    /// Number of the block device.
    pub(super) device: (u32, u32),
    /// Mount point, as the process sees it.
    pub(super) point: Arc<[u8]>,
}

impl Question {
    pub(super) fn of(process: u32, mount: &BlockMount) -> Self {
        Self { process, device: mount.device, point: mount.point.as_slice().into() }
    }

    /// What hangs: the file system behind it may be mounted elsewhere too.
    fn mount(&self) -> MountKey {
        (self.device, Arc::clone(&self.point))
    }
}

/// The answer to a question.
#[derive(Debug)]
pub(super) enum SizeAnswer {
    Sizes(Sizes),
    /// A single file is mounted there, or something else than a directory.
    File,
    /// Something else is mounted there by now, or nothing.
    None,
    /// `CAP_SYS_PTRACE` is missing.
    Denied(std::io::Error),
    /// It did not answer in time, now or before.
    Hangs,
    /// There was no time to ask, or too many threads wait for others.
    Unasked,
}

/// Asks for sizes.
#[derive(Debug, Default)]
pub(super) struct SizeAsker {
    worker: Option<Worker>,
    /// Mounts that a thread waits for, and whether it still does.
    hanging: HashMap<MountKey, Arc<AtomicBool>>,
}

#[derive(Debug)]
struct Worker {
    questions: Sender<Vec<Question>>,
    answers: Receiver<SizeAnswer>,
    /// Whether the thread is there.
    runs: Arc<AtomicBool>,
}

impl SizeAsker {
    /// The answers, in the order of the questions. After it is `late` none is waited for.
    pub(super) fn ask(
        &mut self,
        questions: &[Question],
        late: impl Fn() -> bool,
    ) -> std::io::Result<Vec<SizeAnswer>> {
        self.hanging.retain(|_, runs| runs.load(Ordering::Acquire));
        let hangs = |question: &Question| self.hanging.contains_key(&question.mount());
        let mut answers: Vec<SizeAnswer> = questions
            .iter()
            .map(|question| if hangs(question) { SizeAnswer::Hangs } else { SizeAnswer::Unasked })
            .collect();
        let mut open: VecDeque<(&Question, &mut SizeAnswer)> =
            questions.iter().zip(&mut answers).filter(|(question, _)| !hangs(question)).collect();
        while !open.is_empty() && self.hanging.len() < HANGING {
            let worker = match self.worker.take() {
                Some(worker) => worker,
                None => Worker::start()?,
            };
            let all: Vec<Question> = open.iter().map(|(question, _)| (*question).clone()).collect();
            let _answered_by_none_if_it_has_ended = worker.questions.send(all);
            while let Some((question, place)) = open.pop_front() {
                if late() {
                    return Ok(answers);
                }
                let Ok(answer) = worker.answers.recv_timeout(ANSWER) else {
                    self.hanging.insert(question.mount(), Arc::clone(&worker.runs));
                    *place = SizeAnswer::Hangs;
                    break;
                };
                *place = answer;
            }
            if !self.hanging.values().any(|runs| Arc::ptr_eq(runs, &worker.runs)) {
                self.worker = Some(worker);
            }
        }
        Ok(answers)
    }
}

impl Worker {
    fn start() -> std::io::Result<Self> {
        let (questions, asked) = channel::<Vec<Question>>();
        let (answer, answers) = channel();
        let runs = Arc::new(AtomicBool::new(true));
        let running = RunningThread(Arc::clone(&runs));
        std::thread::Builder::new().name("volume-sizes".to_owned()).spawn(move || {
            let _until_it_ends = running;
            let mut all = asked.iter().flatten();
            while all.next().is_some_and(|question| answer.send(look(&question)).is_ok()) {}
        })?;
        Ok(Self { questions, answers, runs })
    }
}

/// Notes that a thread has ended.
struct RunningThread(Arc<AtomicBool>);

impl Drop for RunningThread {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn look(question: &Question) -> SizeAnswer {
    match sizes(question) {
        Ok(Some(sizes)) => SizeAnswer::Sizes(sizes),
        Err(Errno::NOTDIR) => SizeAnswer::File,
        Err(Errno::ACCESS | Errno::PERM) => SizeAnswer::Denied(Errno::ACCESS.into()),
        Ok(None) | Err(_) => SizeAnswer::None,
    }
}

fn sizes(question: &Question) -> Result<Option<Sizes>, Errno> {
    let root = PathBuf::from(format!("/proc/{}/root", question.process));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(&root, flags, Mode::empty())?;
    let Some(mounted) = below(&root, &question.point, flags)? else { return Ok(None) };
    let stat = fstat(&mounted)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    if (major(stat.st_dev), minor(stat.st_dev)) != question.device {
        return Ok(None);
    }
    let told = fstatvfs(&mounted)?;
    let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
    Ok(Some(Sizes {
        capacity: bytes(told.f_blocks),
        usage: bytes(told.f_blocks.saturating_sub(told.f_bfree)),
        available: bytes(told.f_bavail),
        reserved: bytes(told.f_bfree.saturating_sub(told.f_bavail)),
    }))
}

/// Opens a directory below the root of a container without leaving it: a link in it leads to where the container would be led.
fn below(root: &OwnedFd, point: &[u8], flags: OFlags) -> Result<Option<OwnedFd>, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, OsStr::from_bytes(point), flags, Mode::empty(), resolve) {
        Err(Errno::NOENT | Errno::LOOP) => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::{Question, SizeAnswer, SizeAsker};
    use rustix::fs::{major, minor};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_directory_has_sizes_a_file_has_none_and_who_is_late_asks_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let device = std::fs::metadata(&file).unwrap().dev();
        let question = |path: &std::path::Path| Question {
            process: std::process::id(),
            device: (major(device), minor(device)),
            point: path.as_os_str().as_bytes().into(),
        };
        let gone = folder.path().join("gone");
        let questions = [question(folder.path()), question(&file), question(&gone)];
        let mut asker = SizeAsker::default();
        let late = asker.ask(&questions, || true).unwrap();
        assert!(late.iter().all(|answer| matches!(answer, SizeAnswer::Unasked)), "{late:?}");
        let mut asker = SizeAsker::default();
        let answers = asker.ask(&questions, || false).unwrap();
        assert!(
            matches!(answers.as_slice(), [SizeAnswer::Sizes(_), SizeAnswer::File, SizeAnswer::None]),
            "{answers:?}"
        );
    }
}
