//! The end-to-end test: the agent, the real OpenTelemetry Collector and the real Prometheus, with the configuration
//! files that the demo ships, each test in a network namespace of its own.
//!
//! `make e2e` runs it: `.ci/pipeline-tools` builds what is not there, and its folder goes first on the PATH. One
//! module a subject; `stack` starts the parts, `readings` says what the numbers have to be. Nothing sleeps for a fixed
//! time: everything is asked again until it is so, or a deadline passes.

#![expect(clippy::disallowed_methods, reason = "tests measure, wait with deadlines and start programs")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "clippy.toml lifts these in test functions; here the helpers are tests too"
)]
#![expect(clippy::float_cmp, reason = "the numbers compared are whole, or come from the same division")]

mod churn;
mod containers;
mod endurance;
mod judge;
mod logs;
mod outage;
mod parity;
mod peers;
mod readings;
mod refusals;
mod secured;
mod stack;

#[path = "../support.rs"]
#[expect(dead_code, unused_imports, reason = "tests/main.rs uses the rest")]
mod support;
