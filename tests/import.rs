//! `connscope config import`: configuration files of other tools.

mod connection_status;
mod coroot_node_agent;
mod ss_exporter;
