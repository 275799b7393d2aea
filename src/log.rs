//! The agent's own log: stderr, text or JSON, our own lines only.
//!
//! What the OpenTelemetry SDK logs of a failed export it logs in every cycle, and what it says is said better where
//! the export is made; its lines, and those of the other libraries, are there from `debug` on.

use crate::config::{Format, Level, Log};
use std::io::IsTerminal;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Starts it. A second call changes nothing.
pub fn start(log: Log) {
    let level = match log.level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let libraries = if level >= LevelFilter::DEBUG { level } else { LevelFilter::OFF };
    let filter = Targets::new().with_target("connscope", level).with_default(libraries);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = match log.format {
        Format::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Format::Json => layer.json().flatten_event(true).boxed(),
    };
    let _started_before = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}
