//! `connscope config import`: configuration files of other tools.

mod connection_status;
mod ss_exporter;
