//! The source of the logs: the running agent, and files that are written, renamed and cut off meanwhile.

mod classic;
mod engines;
mod files;
mod journald;
mod settings;

use crate::support::{Agent, command, eventually, get};
use std::io::Write;

/// The running agent, with the logs alone.
struct Running {
    agent: Agent,
    address: std::net::SocketAddr,
    _file: tempfile::NamedTempFile,
}

impl Running {
    /// With these settings of the source, and of the inventory.
    fn new(logs: &str, inventory: &str) -> Self {
        Self::printing("otel", logs, inventory)
    }

    /// With this naming of the metrics, too.
    fn printing(naming: &str, logs: &str, inventory: &str) -> Self {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        write!(
            file,
            "export: {{prometheus: {{naming: {naming}}}}}\ninventory: {inventory}\nsources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  \
             logs: {{enabled: true, {logs}}}\n"
        )
        .unwrap();
        let arguments =
            ["--listen", "127.0.0.1:0", "--otlp-protocol", "none", "--config", file.path().to_str().unwrap()];
        let mut agent = Agent::start(command(&arguments));
        let address = agent.address();
        Self { agent, address, _file: file }
    }

    /// What it prints.
    fn text(&self) -> String {
        get(self.address, "/metrics").1
    }

    /// The values of the series of a metric that have all of these labels.
    fn values(&self, metric: &str, labels: &[&str]) -> Vec<f64> {
        let text = self.text();
        let of_metric = |line: &&str| {
            line.strip_prefix(metric).is_some_and(|rest| rest.starts_with('{'))
                && labels.iter().all(|label| line.contains(label))
        };
        text.lines().filter(of_metric).map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
    }

    /// Waits until the sum of these series is so.
    fn sees(&self, metric: &str, labels: &[&str], number: f64) {
        let mut latest = Vec::new();
        eventually(&format!("{metric} {labels:?} is {number}"), || {
            latest = self.values(metric, labels);
            latest.iter().sum::<f64>() == number && !latest.is_empty()
        });
    }
}
