//! The integration tests: one binary, laid out as the sources are: a folder for each source, and one for each of the
//! other parts of the agent. `support` is what they share.

#![expect(clippy::disallowed_methods, reason = "tests measure, wait with deadlines and start programs")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy.toml lifts these in test functions; here the helpers are tests too"
)]
#![expect(clippy::float_cmp, reason = "the numbers compared are whole, or come from the same division")]
#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the SDK's types are long and private in part"
)]

mod agent;
mod cli;
mod cloud;
mod config;
mod conntrack;
mod containers;
mod cycle;
mod deploy;
mod export;
mod history;
mod host;
mod house;
mod import;
mod logs;
mod metric;
mod netlink;
mod network;
mod node;
mod page;
mod probes;
mod settings;
mod sockets;
mod support;
mod url;
mod web;
mod words;
