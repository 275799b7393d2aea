//! The agent's own log: stderr, text or JSON, our own lines only.
//!
//! The OpenTelemetry SDK logs a failed export in every cycle, and the exporter logs it better
//! itself; the lines of the SDK and of other libraries appear at `debug` and `trace` only.
//!
//! Logging never blocks ([`queue`]), a panic is a line like any other, and the last lines are waited for, for a short time.

use crate::config::{Format, Level, Log};
use queue::{Queue, Writer};
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

pub mod queue;

/// How long the last lines of the log may take to be written.
const LAST_WORDS: Duration = Duration::from_millis(200);

static QUEUE: Queue = Queue::new();

/// Result of starting the thread that writes.
static STARTED: OnceLock<Result<(), i32>> = OnceLock::new();

/// Starts the log. A second call changes nothing. The error is that of starting a thread.
pub fn start(log: Log) -> std::io::Result<()> {
    let started = STARTED.get_or_init(|| QUEUE.start().map_err(|error| error.raw_os_error().unwrap_or(0)));
    (*started).map_err(std::io::Error::from_raw_os_error)?;
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
    let layer = tracing_subscriber::fmt::layer().with_writer(Writer(&QUEUE)).with_target(false);
    let layer = match log.format {
        Format::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Format::Json => layer.json().flatten_event(true).boxed(),
    };
    let _started_before = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let location = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(thread, location, "panicked: {message}; this is a defect of connscope");
    }));
    Ok(())
}

/// Number of lines that were dropped because stderr was blocked.
pub fn dropped() -> u64 {
    QUEUE.dropped()
}

/// Waits until the logged lines are written, for a short time.
pub fn flush() {
    if matches!(STARTED.get(), Some(Ok(()))) {
        QUEUE.flush(LAST_WORDS);
    }
}

/// Writes to stderr why the program ends, whatever the level and the format of the log.
pub fn say_last(line: &str) {
    if matches!(STARTED.get(), Some(Ok(()))) {
        QUEUE.push(format!("{line}\n").as_bytes());
        flush();
    } else {
        // Where stderr is closed there is nobody to tell.
        let _unheard = writeln!(std::io::stderr(), "{line}");
    }
}
