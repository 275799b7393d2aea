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
