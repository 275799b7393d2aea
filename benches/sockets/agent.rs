//! The running agent and its memory.

use crate::Outcome;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Scrapes before memory is looked at, so that what is taken once has been taken.
const SCRAPES: usize = 5;

pub(crate) struct Agent {
    child: Child,
    port: u16,
}

impl Agent {
    /// Starts it in this network namespace; it is only scraped.
    pub(crate) fn start() -> Outcome<Self> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_connscope"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(["run", "--otlp-protocol", "none", "--log-level", "error"])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::null())
            .spawn()?;
        let agent = Self { child, port };
        for _ in 0..100 {
            if agent.scrape().is_ok() {
                return Ok(agent);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("the agent does not answer".into())
    }

    fn scrape(&self) -> Outcome<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") && answer.contains("connscope_sockets_tracked") {
            Ok(())
        } else {
            Err("a scrape without the sockets".into())
        }
    }

    /// Resident memory after some scrapes.
    pub(crate) fn resident_mib(&mut self) -> Outcome<f64> {
        for _ in 0..SCRAPES {
            self.scrape()?;
        }
        resident_mib(&self.child.id().to_string())
    }
}

/// `VmRSS` of a process.
pub(crate) fn resident_mib(pid: &str) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: f64 = line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes / 1024.0)
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
