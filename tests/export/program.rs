//! The program itself as it pushes, with a `conntrack` that prints what the test wants.

use super::request::value;
use crate::support::receiver::{PATIENCE, Speaks};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lines of a stream, as they come.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) lines: Mutex<Vec<String>>,
    pub(super) more: Condvar,
}

impl Lines {
    pub(super) fn read(stream: impl Read + Send + 'static) -> (Arc<Self>, JoinHandle<()>) {
        let lines = Arc::new(Self::default());
        let writer = Arc::clone(&lines);
        let thread = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                writer.lines.lock().expect("no panic").push(line);
                writer.more.notify_all();
            }
        });
        (lines, thread)
    }

    pub(super) fn wait(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().expect("no panic");
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(words)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for a line with `{words}`: {lines:#?}");
            lines = self.more.wait_timeout(lines, left).expect("no panic").0;
        }
    }
}

/// The program with a `conntrack` that prints what the test wants; killed when dropped.
pub(super) struct Agent {
    pub(super) child: Child,
    pub(super) log: Arc<Lines>,
    pub(super) out: Arc<Lines>,
    pub(super) readers: Vec<JoinHandle<()>>,
    pub(super) directory: tempfile::TempDir,
}

/// How the program left.
pub(super) struct Left {
    pub(super) took: Duration,
    pub(super) status: ExitStatus,
    pub(super) log: Vec<String>,
}

impl Left {
    pub(super) fn count(&self, words: &str) -> usize {
        self.log.iter().filter(|line| line.contains(words)).count()
    }

    /// Lines of warnings about the push, which are the only ones a test may count: what else there is to warn of
    /// depends on the kernel it runs on.
    pub(super) fn warnings(&self) -> Vec<&String> {
        self.log.iter().filter(|line| line.contains("WARN") && line.contains("OTLP")).collect()
    }
}

impl Agent {
    /// Without the endpoint that Prometheus scrapes.
    pub(super) fn start(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::start_with(variables, &[&["--listen", "off"], arguments].concat())
    }

    pub(super) fn start_with(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let script = directory.path().join("conntrack");
        let here = directory.path().display();
        let text = format!("#!/bin/sh\necho >> '{here}/runs'\nexec cat '{here}/numbers'\n");
        std::fs::write(&script, text).expect("writing");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))
            .expect("making it executable");
        print_numbers(directory.path(), 1);
        let mut child = Command::new(env!("CARGO_BIN_EXE_connscope"))
            .args(["--conntrack-source", "command", "--conntrack-command"])
            .arg(&script)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let (log, log_reader) = Lines::read(child.stderr.take().expect("a pipe"));
        let (out, out_reader) = Lines::read(child.stdout.take().expect("a pipe"));
        Self { child, log, out, readers: vec![log_reader, out_reader], directory }
    }

    /// `conntrack.found` of CPU 0 from now on.
    pub(super) fn print(&self, found: u32) {
        print_numbers(self.directory.path(), found);
    }

    /// How often `conntrack` was run.
    pub(super) fn runs(&self) -> u64 {
        std::fs::metadata(self.directory.path().join("runs")).map_or(0, |file| file.len())
    }

    /// Ends it the way an operator does.
    pub(super) fn terminate(mut self) -> Left {
        let asked = Instant::now();
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("SIGTERM");
        let status = self.exit();
        let took = asked.elapsed();
        for reader in self.readers.drain(..) {
            reader.join().expect("no panic");
        }
        let log = self.log.lines.lock().expect("no panic").clone();
        assert!(log.iter().all(|line| !line.contains("panicked")), "{log:#?}");
        Left { took, status, log }
    }

    /// Waits for its end.
    pub(super) fn exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub(super) fn print_numbers(directory: &Path, found: u32) {
    let line = format!(
        "cpu=0   \tfound={found} invalid=2 insert=0 insert_failed=0 drop=0 early_drop=0 error=0 search_restart=0 \
         clash_resolve=0 chaintoolong=0 \n"
    );
    // In one step: the script may be reading.
    std::fs::write(directory.join("next"), line).expect("writing");
    std::fs::rename(directory.join("next"), directory.join("numbers")).expect("renaming");
}

pub(super) const BOTH: [Speaks; 2] = [Speaks::Grpc, Speaks::Http];

/// The value of `OTEL_EXPORTER_OTLP_PROTOCOL`.
pub(super) fn protocol(speaks: Speaks) -> &'static str {
    match speaks {
        Speaks::Grpc => "grpc",
        Speaks::Http => "http/protobuf",
    }
}

pub(super) fn found(request: &ExportMetricsServiceRequest) -> Option<i64> {
    match value(request, "conntrack.found", &[("cpu", "0")]) {
        Some(Value::AsInt(found)) => Some(found),
        _ => None,
    }
}

/// A path as the value of a variable.
pub(super) trait AsText {
    fn as_text(&self) -> &str;
}

impl AsText for std::path::PathBuf {
    fn as_text(&self) -> &str {
        self.to_str().expect("text")
    }
}
