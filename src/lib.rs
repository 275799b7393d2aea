//! connscope reports what the Linux kernel knows about connections: an OpenTelemetry metrics agent.
//!
//! Data flows in one direction, from the kernel to the exporters:
//!
//! ```text
//! kernel ─bytes─▶ source/x/<format> ─values─▶ source/x ─Readings─▶ cycle ─Snapshot─▶ export/instruments ─▶ SDK reader ─▶ OTLP | Prometheus | stdout
//! ```
//!
//! - [`source`] reads the kernel and names the values; it does not depend on OpenTelemetry.
//! - [`cycle`] is one collection by one reader; only it knows both ends.
//! - [`export`] is a reader with its provider and instruments; it never calls a source.
//! - [`host`], [`netlink`] and [`filter`] are shared by several sources: the machine's control groups, processes,
//!   network namespaces and containers; the netlink client; the filter language of `ss`.
//! - [`cloud`] knows which cloud the machine is in, and what its metadata service says.
//! - [`tls`] is shared by everything that uses TLS.
//! - [`settings`] reads a configuration file into one tree, from which all settings are derived.
//! - [`metric`] has the table that names every metric once; [`catalog`] lists the sources.
//! - [`agent`] starts, runs and stops all of it; [`cli`] and [`config`] have the command line and the configuration.
//!
//! `docs/design.md` lists the folders, the order in which modules may import one another, and the invariants.

pub mod agent;
pub mod catalog;
pub mod cli;
pub mod cloud;
pub mod config;
pub mod cycle;
pub mod export;
pub mod filter;
pub mod health;
pub mod history;
pub mod host;
pub mod import;
pub mod log;
pub mod metric;
pub mod netlink;
pub mod peer;
pub mod reading;
pub mod runtime;
pub mod self_metrics;
pub mod settings;
pub mod signals;
pub mod source;
pub mod stop;
pub mod sys;
pub mod text;
pub mod timeouts;
pub mod tls;
pub mod token_bucket;
pub mod url;
pub mod web;
