//! The one file that names the sources. Adding a source is adding its folder and a line here.

use crate::source::{conntrack, containers, logs, network, node, probes, sockets};

crate::sources! {
    /// Connection tracking statistics.
    conntrack: conntrack::Conntrack = conntrack::config::Conntrack;
    /// Sockets.
    sockets: sockets::Sockets = sockets::config::Sockets;
    /// Where packets are dropped by the kernel, the card and the cloud.
    network: network::Network = network::config::Network;
    /// Active checks of configured targets.
    probes: probes::Probes = probes::config::Probes;
    /// Containers and systemd services.
    containers: containers::Containers = containers::config::Containers;
    /// Messages in the logs of containers, and in files.
    logs: logs::Logs = logs::config::Logs;
    /// CPU time, memory, disks and network interfaces of the machine.
    node: node::Node = node::config::Node;
}

/// The whole configuration of the agent, with the settings of these sources.
pub type Config = crate::config::Config<Sources>;

#[cfg(test)]
mod tests {
    use super::Config;
    use crate::config::schema::SCHEMA;

    #[test]
    fn the_schema_equals_the_settings() {
        let schema = schemars::schema_for!(Config).to_value();
        let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
        text.push('\n');
        if text != SCHEMA {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/schema.json");
            std::fs::write(file, text).expect("the schema can be written");
            panic!("src/config/schema.json was stale and has been rewritten from the settings; commit it");
        }
    }
}
