//! The running agent, which is only scraped: its start, its scrapes, its memory and its CPU time.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long the first scrape may take to succeed.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent that does not push; it ends when it is dropped.
pub(crate) struct Agent {
    child: Child,
    port: u16,
}

impl Agent {
    /// Starts an agent with a configuration file, or without one, in this network namespace, and waits until it answers a
    /// scrape. One source has to be on: without any, a scrape is answered with 503.
    pub(crate) fn start(config: Option<&Path>) -> Outcome<Self> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_connscope"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        command
            .args(["run", "--otlp-protocol", "none", "--log-level", "error"])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::null());
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        let agent = Self { child: command.spawn()?, port };
        let ends = Instant::now() + PATIENCE;
        while let Err(error) = agent.scrape() {
            if Instant::now() > ends {
                return Err(format!("the agent does not answer: {error}").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(agent)
    }

    /// The exposition.
    pub(crate) fn scrape(&self) -> Outcome<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") {
            Ok(answer)
        } else {
            Err(answer.lines().last().unwrap_or("an empty answer").into())
        }
    }

    /// A size of `/proc/PID/status` in MiB.
    fn size(&self, key: &str) -> Outcome<f64> {
        size(&self.child.id().to_string(), key)
    }

    /// Resident memory in MiB: now, and at most so far.
    pub(crate) fn resident(&self) -> Outcome<(f64, f64)> {
        Ok((self.size("VmRSS")?, self.size("VmHWM")?))
    }

    /// CPU time of all threads in seconds.
    pub(crate) fn used(&self) -> Outcome<f64> {
        let mut nanoseconds = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += text.split_ascii_whitespace().next().unwrap_or("0").parse::<f64>()?;
        }
        Ok(nanoseconds / 1e9)
    }
}

/// A size of `/proc/PID/status` in MiB; `pid` may be `self`.
pub(crate) fn size(pid: &str, key: &str) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kibibytes: f64 = line.ok_or("no such line in status")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes / 1024.0)
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
