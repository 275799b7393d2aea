//! The integration tests: one binary, one module a subject.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "clippy.toml lifts these in test functions; here the helpers are tests too"
)]
#![allow(clippy::float_cmp, reason = "the numbers compared are whole, or come from the same division")]
#![allow(clippy::redundant_closure_for_method_calls, reason = "the SDK's types are long and private in part")]

mod attribution;
mod cli;
mod cycle;
mod deploy;
mod diag;
mod filter;
mod import;
mod kernel;
mod otlp;
mod parsers;
mod probes;
mod receiver;
mod select;
mod service;
mod sockets;
mod support;
mod tracker;
mod unwrap;
mod words;
