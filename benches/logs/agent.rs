//! The running agent with the logs alone: its memory, its CPU time, what it counts.

use crate::Outcome;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) struct Agent {
    child: Child,
    port: u16,
    _file: tempfile::NamedTempFile,
}

impl Agent {
    /// Follows `*.log` in a directory, with these settings more; without a directory the logs are off. It is only scraped.
    pub(crate) fn start(directory: Option<&Path>, settings: &str) -> Outcome<Self> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        let logs = directory.map_or("{enabled: false}".to_owned(), |directory| {
            let files = directory.display();
            format!("{{enabled: true, docker: false, cri: false, files: ['{files}/*.log'], {settings}}}")
        });
        writeln!(
            file,
            "sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  probes: {{enabled: false}}\n  logs: {logs}"
        )?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_connscope"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(["run", "--otlp-protocol", "none", "--log-level", "error"])
            .args(["--listen", &format!("127.0.0.1:{port}"), "--config"])
            .arg(file.path())
            .stdin(Stdio::null())
            .spawn()?;
        let agent = Self { child, port, _file: file };
        for _ in 0..200 {
            if agent.scrape().is_ok() {
                return Ok(agent);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("the agent does not answer".into())
    }

    pub(crate) fn scrape(&self) -> Outcome<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") { Ok(answer) } else { Err("a scrape failed".into()) }
    }

    /// The sum of the series of a metric.
    pub(crate) fn sum(&self, metric: &str) -> Outcome<f64> {
        let text = self.scrape()?;
        let of_metric = text
            .lines()
            .filter(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' '])));
        Ok(of_metric.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    fn status(&self, key: &str) -> Outcome<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let kibibytes: f64 = line.ok_or("no such line")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes / 1024.0)
    }

    /// Resident memory in MiB: now, and at most.
    pub(crate) fn resident(&self) -> Outcome<(f64, f64)> {
        Ok((self.status("VmRSS")?, self.status("VmHWM")?))
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

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
