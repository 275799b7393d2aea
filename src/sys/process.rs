//! Running a program with a deadline, and what the kernel says of this process.
//!
//! The standard library waits for a child without a deadline, and tokio's child needs a runtime on the thread that
//! starts it, which here is the thread that has entered the network namespace. What is left is a poll over two
//! pipes.

#![expect(clippy::disallowed_methods, reason = "programs are run here alone, each with a deadline")]

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process_group, setrlimit};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Most a program may print. `conntrack -S` prints 200 bytes for a CPU, and there are never more than 8192.
const MOST_OUTPUT: usize = 4 * 1024 * 1024;
/// Most that is kept of what a program prints on stderr; the rest is read and discarded.
const MOST_STDERR: usize = 4 * 1024;

/// What a program that ended in time left behind.
#[derive(Debug)]
pub struct Output {
    /// Exit code, or the signal that ended it.
    pub status: ExitStatus,
    /// Its standard output, whole.
    pub stdout: Vec<u8>,
    /// The beginning of what it printed on stderr.
    pub stderr: Vec<u8>,
}

/// Why a program did not give an [`Output`].
#[derive(Debug)]
pub enum RunError {
    /// It could not be started, or its pipes could not be read.
    Io(io::Error),
    /// It did not end in time, and was killed and reaped.
    Timeout,
    /// It printed more than 4 MiB, and was killed and reaped.
    TooMuch,
    /// The agent is stopping; it was killed and reaped.
    Stopped,
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs a program to its end: C locale, no stdin, a process group of its own (a Ctrl-C on the terminal is for the
/// agent, which then decides). After `timeout` the whole group is killed and the child is reaped. Where the agent is killed
/// meanwhile, the kernel kills the child. `killed` is readable once running it is to end at once
/// ([`Stop::killed`](crate::stop::Stop::killed)).
pub fn run(
    program: &str,
    arguments: &[&str],
    timeout: Duration,
    killed: BorrowedFd<'_>,
) -> Result<Output, RunError> {
    let deadline = Instant::now() + timeout;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    die_with_parent(&mut command);
    let child = command.spawn()?;
    let mut child = Reaped { child, ended: false };
    let (stdout, stderr) = drain(&mut child.child, deadline, killed)?;
    let status = wait(&mut child.child, deadline, killed)?;
    child.ended = true;
    Ok(Output { status, stdout, stderr })
}

/// Has the kernel kill the child when the thread that starts it ends (`PR_SET_PDEATHSIG`, prctl(2)): the thread, not the
/// process, so that thread has to wait for the child, as [`run`] does. A child that starts with more privileges than the
/// agent has (set-user-ID, file capabilities) is let off by the kernel, and so is what a child starts.
#[expect(unsafe_code, reason = "what happens between fork and exec has no safe interface")]
fn die_with_parent(command: &mut Command) {
    let agent = rustix::process::getpid();
    let before_exec = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // Where the agent was killed before the line above, nobody sends the signal any more.
        if rustix::process::getppid() == Some(agent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: the closure makes two system calls; it neither allocates nor takes a lock that another thread may hold.
    unsafe {
        command.pre_exec(before_exec);
    }
}

/// A child that did not end well is killed, with its group, and reaped when this goes out of scope.
struct Reaped {
    child: Child,
    /// It ended by itself, in time, and was waited for.
    ended: bool,
}

impl Drop for Reaped {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // The child may have ended and left others that hold its pipes; as long as it is not waited for, its number is
        // that of its group and of nobody else.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _gone_already = kill_process_group(group, Signal::KILL);
        }
        let _reaped = self.child.wait();
    }
}

/// Reads both pipes to their ends.
fn drain(
    child: &mut Child,
    deadline: Instant,
    killed: BorrowedFd<'_>,
) -> Result<(Vec<u8>, Vec<u8>), RunError> {
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    let (mut printed, mut complained) = (Vec::new(), Vec::new());
    let mut chunk = [0; 16 * 1024];
    while stdout.is_some() || stderr.is_some() {
        let (out_ready, err_ready) = ready(stdout.as_ref(), stderr.as_ref(), deadline, killed)?;
        if out_ready && let Some(pipe) = &mut stdout {
            let length = pipe.read(&mut chunk)?;
            printed.extend_from_slice(chunk.get(..length).unwrap_or_default());
            if length == 0 {
                stdout = None;
            }
        }
        if printed.len() > MOST_OUTPUT {
            return Err(RunError::TooMuch);
        }
        if err_ready && let Some(pipe) = &mut stderr {
            let length = pipe.read(&mut chunk)?;
            let room = MOST_STDERR.saturating_sub(complained.len());
            complained.extend_from_slice(chunk.get(..length.min(room)).unwrap_or_default());
            if length == 0 {
                stderr = None;
            }
        }
    }
    Ok((printed, complained))
}

/// Waits until one of the pipes can be read, the deadline is over or the agent stops.
fn ready(
    stdout: Option<&impl AsFd>,
    stderr: Option<&impl AsFd>,
    deadline: Instant,
    killed: BorrowedFd<'_>,
) -> Result<(bool, bool), RunError> {
    let mut watched = vec![PollFd::from_borrowed_fd(killed, PollFlags::IN)];
    watched.extend(stdout.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    watched.extend(stderr.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    let left = deadline.saturating_duration_since(Instant::now());
    let patience = rustix::event::Timespec::try_from(left).map_err(|_| RunError::Timeout)?;
    match poll(&mut watched, Some(&patience)) {
        Ok(0) => return Err(RunError::Timeout),
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(io::Error::from(error).into()),
    }
    let mut events = watched.iter().map(|descriptor| !descriptor.revents().is_empty());
    if events.next() == Some(true) {
        return Err(RunError::Stopped);
    }
    let out_ready = stdout.is_some() && events.next() == Some(true);
    let err_ready = stderr.is_some() && events.next() == Some(true);
    Ok((out_ready, err_ready))
}

/// Waits for the end of a child that has closed its pipes, which as a rule is now.
fn wait(child: &mut Child, deadline: Instant, killed: BorrowedFd<'_>) -> Result<ExitStatus, RunError> {
    let mut nap = Duration::from_micros(50);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(RunError::Timeout);
        }
        let patience = rustix::event::Timespec::try_from(left.min(nap)).map_err(|_| RunError::Timeout)?;
        let mut watched = [PollFd::from_borrowed_fd(killed, PollFlags::IN)];
        match poll(&mut watched, Some(&patience)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Err(RunError::Stopped),
            Err(error) => return Err(io::Error::from(error).into()),
        }
        nap = (nap * 2).min(Duration::from_millis(10));
    }
}

/// Lets this process open as many descriptors as it may: the soft limit of `RLIMIT_NOFILE` becomes the hard one
/// (`setrlimit(2)`). Each network namespace takes some, and systemd's soft limit is 1024 for the sake of `select(2)`, which
/// nothing here uses. Programs that this process starts inherit it.
pub fn raise_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// What this process has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// CPU time in user mode, in seconds.
    pub user: f64,
    /// CPU time in the kernel, in seconds.
    pub system: f64,
    /// Resident memory in bytes.
    pub resident: u64,
}

/// Reads it: `getrusage(2)`, and `/proc/self/statm` (`proc_pid_statm(5)`). `None` where `/proc` is not there.
pub fn usage() -> Option<Usage> {
    static STATM: LazyLock<super::KeptFile> =
        LazyLock::new(|| super::KeptFile::new("/proc/self/statm".into()));
    let statm = STATM.read().ok()?;
    let resident: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    let (user, system) = cpu_time()?;
    Some(Usage { user, system, resident: resident * page })
}

/// Gives memory that is free back to the system. The allocator of glibc keeps what was allocated in small pieces, which
/// after a collection of thousands of series is most of it; others give it back by themselves.
#[expect(unsafe_code, reason = "a function of the C library that no safe wrapper offers")]
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes no pointer and may be called by any thread at any time (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// CPU time of all threads of this process, in user mode and in the kernel. `/proc/self/stat` has it too, in hundredths
/// of a second and at twenty times the price.
#[expect(unsafe_code, reason = "a system call that no safe wrapper offers")]
fn cpu_time() -> Option<(f64, f64)> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole rusage that lives longer than the call, and the kernel writes no more.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: all zeroes are a valid rusage, and the kernel has filled it in.
    let usage = unsafe { usage.assume_init() };
    #[expect(clippy::cast_precision_loss, reason = "seconds of CPU time stay far below 2^53")]
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Some((seconds(usage.ru_utime), seconds(usage.ru_stime)))
}

/// Raises the soft limit of open files (`RLIMIT_NOFILE`) to `wanted` where the hard one lets it; what it is then.
///
/// The limit is read from `/proc/self/limits`: `prlimit64` may be forbidden (seccomp), and rustix takes it for granted that
/// asking cannot fail.
pub fn descriptors(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let (now, most) = super::read_limited("/proc/self/limits", 64 * 1024)
        .ok()
        .and_then(|limits| open_files(&limits))
        .unwrap_or((1024, 1024)); // what a process has where nobody says anything else
    if now >= wanted {
        return now;
    }
    let raised = wanted.min(most);
    let set = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: Some(most) });
    if set.is_ok() { raised } else { now }
}

/// Soft and hard limit of open files in the text of `/proc/PID/limits` (`fs/proc/base.c`, `proc_pid_limits`).
fn open_files(limits: &str) -> Option<(u64, u64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut numbers = line.split_ascii_whitespace().map(|word| match word {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::open_files;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 unlimited            files     \n";
        assert_eq!(open_files(text), Some((1024, u64::MAX)));
        assert_eq!(open_files(""), None);
    }
}
