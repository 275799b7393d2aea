//! The program itself as it pushes, with a `conntrack` that prints what the test wants.

use super::request::value;
use crate::support::agent::{Agent as Started, Lines, command};
use crate::support::receiver::Speaks;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

/// The program with a `conntrack` that prints what the test wants.
pub(super) struct Agent {
    started: Started,
    pub(super) log: Arc<Lines>,
    pub(super) out: Arc<Lines>,
    directory: tempfile::TempDir,
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
        let mut command = command(arguments);
        if !arguments.contains(&"--jitter") {
            command.args(["--jitter", "0s"]);
        }
        command.args(["--conntrack-source", "command", "--conntrack-command"]).arg(&script);
        command.envs(variables.iter().copied());
        let agent = Started::logging(command);
        Self { log: Arc::clone(&agent.log), out: Arc::clone(&agent.out), started: agent, directory }
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
        self.started.signal(rustix::process::Signal::TERM);
        let (status, took) = self.started.wait();
        let log = self.log.all();
        assert!(log.iter().all(|line| !line.contains("panicked")), "{log:#?}");
        Left { took, status, log }
    }

    /// Where it listens, once it does.
    pub(super) fn address(&mut self) -> SocketAddr {
        self.started.address()
    }

    /// Waits for its end.
    pub(super) fn exit(&mut self) -> ExitStatus {
        self.started.wait().0
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
