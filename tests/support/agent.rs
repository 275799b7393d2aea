//! The one way to start the program: what it is told and by whom, what it logs, and how it ends.

use super::PATIENCE;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The program, ready to be started; of the caller's variables it has the `PATH` alone.
pub(crate) fn command(arguments: &[&str]) -> Command {
    bare(env!("CARGO_BIN_EXE_connscope").as_ref(), arguments)
}

/// The program with this configuration, to be scraped only, at a port of its own.
pub(crate) fn scraped(configuration: &Path) -> Command {
    let mut command = command(&["--listen", "127.0.0.1:0", "--otlp-protocol", "none", "--config"]);
    command.arg(configuration);
    command
}

fn bare(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Runs the program to its end.
pub(crate) fn connscope(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// A program behind another one that starts it (`unshare -n PROGRAM`), with the same variables.
pub(crate) fn behind(starter: &[&str], program: &Command) -> Command {
    let mut command = bare(starter[0].as_ref(), &starter[1..]);
    command.arg(program.get_program()).args(program.get_args());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Copies a program that is to be started. Another process does it: a child that another test starts at the same time would have the
/// copy open for writing, and the kernel would refuse to run it (`ETXTBSY`).
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").args([from, to]).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp {} {}", from.display(), to.display());
}

/// The program and a configuration, where any user may read and run them.
pub(crate) struct Public {
    folder: tempfile::TempDir,
}

impl Public {
    /// With a configuration of this text.
    pub(crate) fn new(yaml: &str) -> Self {
        let public = Self { folder: tempfile::tempdir().unwrap() };
        copy_program(env!("CARGO_BIN_EXE_connscope").as_ref(), &public.program());
        std::fs::write(public.config(), yaml).unwrap();
        for path in [public.folder.path().to_owned(), public.program(), public.config()] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        public
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("connscope")
    }

    /// Where the configuration is.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("connscope.yaml")
    }

    /// The program with its configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(&self.program(), arguments);
        command.arg("--config").arg(self.config());
        command
    }

    /// The same as nobody, with these capabilities and no other.
    pub(crate) fn nobody(&self, capabilities: &[&str], arguments: &[&str]) -> Command {
        let list: Vec<String> = capabilities.iter().map(|name| format!("+{name}")).collect();
        let list = format!("-all,{}", list.join(","));
        let list = list.trim_end_matches(',');
        let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"];
        let sets = ["--bounding-set", list, "--inh-caps", list, "--ambient-caps", list];
        behind(&[&nobody[..], &sets].concat(), &self.command(arguments))
    }
}

/// Lines of a stream, as they come.
#[derive(Default)]
pub(crate) struct Lines {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

impl Lines {
    fn read(stream: impl Read + Send + 'static) -> (Arc<Self>, JoinHandle<()>) {
        let lines = Arc::new(Self::default());
        let writer = Arc::clone(&lines);
        let thread = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                writer.lines.lock().unwrap().0.push(line);
                writer.more.notify_all();
            }
            writer.lines.lock().unwrap().1 = true;
            writer.more.notify_all();
        });
        (lines, thread)
    }

    /// Those that came so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().0.clone()
    }

    /// Waits for a line that contains a text; it may have come already.
    pub(crate) fn wait(&self, text: &str) -> String {
        self.after(0, text).1
    }

    /// Waits for such a line after the first so many: its position, and the line.
    fn after(&self, seen: usize, text: &str) -> (usize, String) {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().unwrap();
        loop {
            let found = lines.0.iter().enumerate().skip(seen).find(|(_, line)| line.contains(text));
            if let Some((position, line)) = found {
                return (position, line.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !lines.1, "`{text}` never came, but: {:#?}", lines.0);
            lines = self.more.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// The running program; killed when it goes out of scope.
pub(crate) struct Agent {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    /// What it logs; nothing where the caller has its stderr.
    pub(crate) log: Arc<Lines>,
    /// What it prints; nothing where the caller has its streams.
    pub(crate) out: Arc<Lines>,
    seen: usize,
}

impl Agent {
    /// Starts it with JSON logs.
    pub(crate) fn start(mut command: Command) -> Self {
        command.args(["--log-format", "json"]);
        Self::logging(command)
    }

    /// Starts it with logs as it was told to write them.
    pub(crate) fn logging(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut agent = Self::spawn(command);
        let (log, log_reader) = Lines::read(agent.child.stderr.take().unwrap());
        let (out, out_reader) = Lines::read(agent.child.stdout.take().unwrap());
        (agent.log, agent.out, agent.readers) = (log, out, vec![log_reader, out_reader]);
        agent
    }

    /// Starts it with the streams that the caller gave it.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, readers: Vec::new(), log: Arc::default(), out: Arc::default(), seen: 0 }
    }

    /// Waits for the next line of the log that contains a text: lines before the last one waited for do not count.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let (position, line) = self.log.after(self.seen, text);
        self.seen = position + 1;
        line
    }

    /// Where it listens, once it does.
    pub(crate) fn address(&mut self) -> SocketAddr {
        let line = self.log.wait("connscope is running");
        let url = line.split("://").skip(1).find_map(|rest| rest.split_once("/metrics"));
        url.unwrap_or_else(|| panic!("no address: {line}")).0.parse().unwrap()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end; how long that took. The log is whole then.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                let took = started.elapsed();
                for reader in self.readers.drain(..) {
                    reader.join().unwrap();
                }
                return (status, took);
            }
            assert!(started.elapsed() < PATIENCE, "it does not end: {:#?}", self.log.all());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has left in its stderr, where the caller made that a pipe.
    pub(crate) fn said(&mut self) -> String {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
