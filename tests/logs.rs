//! The source of the logs: the running agent, and files that are written, renamed and cut off meanwhile.

mod classic;
mod engines;
mod files;
mod journald;
mod kinds;
mod open;
mod privileges;
mod rotation;
mod service;
mod settings;

use crate::support::agent::Public;
use crate::support::{Agent, eventually, get};
use std::process::Command;

/// The running agent, with the logs alone.
struct Running {
    agent: Agent,
    address: std::net::SocketAddr,
    _public: Public,
}

impl Running {
    /// With these settings of the source, and of the inventory.
    fn new(logs: &str, inventory: &str) -> Self {
        Self::printing("otel", logs, inventory)
    }

    /// With this naming of the metrics, too.
    fn printing(naming: &str, logs: &str, inventory: &str) -> Self {
        Self::start(naming, logs, inventory, Public::command)
    }

    /// As nobody, with these capabilities.
    fn as_nobody(capabilities: &[&str], logs: &str, inventory: &str) -> Self {
        Self::start("otel", logs, inventory, |public, arguments| public.nobody(capabilities, arguments))
    }

    fn start(
        naming: &str,
        logs: &str,
        inventory: &str,
        command: impl Fn(&Public, &[&str]) -> Command,
    ) -> Self {
        let public = Public::new(&configuration(naming, logs, inventory));
        let arguments = ["run", "--listen", "127.0.0.1:0", "--otlp-protocol", "none"];
        let mut agent = Agent::start(command(&public, &arguments));
        let address = agent.address();
        Self { agent, address, _public: public }
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

/// A configuration with the logs alone.
fn configuration(naming: &str, logs: &str, inventory: &str) -> String {
    format!(
        "export: {{prometheus: {{naming: {naming}}}}}\ninventory: {inventory}\nsources:\n  conntrack: {{enabled: false}}\n  \
         sockets: {{enabled: false}}\n  logs: {{enabled: true, {logs}}}\n"
    )
}
