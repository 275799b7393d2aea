//! The other tools that tell of sockets.

use crate::{Outcome, Times};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long `ss` takes for what the source reads, its output thrown away.
pub(crate) fn ss() -> Outcome<Duration> {
    let mut times = Times::default();
    for _ in 0..3 {
        let status = times.take(|| Command::new("ss").args(["-H", "-tin"]).stdout(Stdio::null()).status())?;
        if !status.success() {
            return Err("ss failed".into());
        }
    }
    Ok(times.median())
}

/// What prometheus_ss_exporter runs at each scrape: `ss2 --tcp --process` of pyroute2.
pub(crate) struct OldTool(tempfile::TempDir);

impl OldTool {
    /// Has pip install it into a folder that goes with this.
    pub(crate) fn install() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let python = |program: &mut Command| -> Outcome<()> {
            let output = program.stdin(Stdio::null()).output()?;
            if output.status.success() {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(text.lines().last().unwrap_or("no error was printed").into())
        };
        python(Command::new("python3").args(["-m", "venv"]).arg(folder.path()))?;
        let pip = folder.path().join("bin/pip");
        python(Command::new(pip).args(["install", "--quiet", "--retries", "1", "pyroute2", "psutil"]))?;
        Ok(Self(folder))
    }

    /// How long one run takes.
    pub(crate) fn run(&self) -> Outcome<Duration> {
        let mut times = Times::default();
        let status = times.take(|| {
            Command::new(self.0.path().join("bin/ss2"))
                .args(["--tcp", "--process"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
        })?;
        if status.success() { Ok(times.median()) } else { Err(format!("it ended with {status}").into()) }
    }
}
