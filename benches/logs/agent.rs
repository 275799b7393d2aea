//! The running agent with the logs alone: what it counts.

use crate::{Outcome, running_agent};
use std::io::Write;
use std::path::Path;

pub(crate) struct Agent {
    pub(crate) running: running_agent::Agent,
    _file: tempfile::NamedTempFile,
}

impl Agent {
    /// Follows `*.log` in a directory, with these settings more; without a directory the logs are off.
    ///
    /// A target that is probed once an hour is in both, because an agent without any source answers no scrape: what is
    /// measured beside it is the logs alone.
    pub(crate) fn start(directory: Option<&Path>, settings: &str) -> Outcome<Self> {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        let logs = directory.map_or("{enabled: false}".to_owned(), |directory| {
            let files = directory.display();
            format!("{{enabled: true, docker: false, cri: false, files: ['{files}/*.log'], {settings}}}")
        });
        writeln!(
            file,
            "sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  logs: {logs}\n  probes:\n    \
             interval: 1h\n    targets: [{{name: none, kind: unix, path: /nonexistent}}]"
        )?;
        Ok(Self { running: running_agent::Agent::start(Some(file.path()))?, _file: file })
    }

    /// The sum of the series of a metric.
    pub(crate) fn sum(&self, metric: &str) -> Outcome<f64> {
        let text = self.running.scrape()?;
        let of_metric = text
            .lines()
            .filter(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' '])));
        Ok(of_metric.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}
