//! What reading logs costs: lines a second, a message whose pattern is known, and the running agent with many files, with one
//! that is written to as fast as can be, and with the logs of 500 containers.
//!
//! Where `CONNSCOPE_LOGPARSER` names the program that `.ci/logparser` builds, coroot's parser gets the same lines. Nothing fails
//! because of a number. The numbers in docs/costs.md are from this program.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures, and starts what it measures")]
#![expect(clippy::print_stdout, reason = "a benchmark is run to read what it prints")]
#![expect(clippy::cast_precision_loss, reason = "numbers stay far below 2^53")]

mod agent;
#[allow(dead_code, clippy::cast_possible_wrap, reason = "shared with the benchmark of the containers")]
#[path = "../support/allocations.rs"]
mod allocations;
mod running;
#[path = "../support/agent.rs"]
mod running_agent;

use allocations::allocations;
use connscope::source::logs::config::Logs as Settings;
use connscope::source::logs::counts::{Counts, LogOwner, Origin, Timestamp};
use connscope::source::logs::frame::Frame;
use connscope::source::logs::labels::LogSource;
use connscope::source::logs::lines::Lines;
use connscope::source::logs::stream::{Message, Streams};
use std::error::Error;
use std::fmt::Write as _;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Lines of the mix.
const LINES: usize = 200_000;

/// Patterns in it.
const PATTERNS: usize = 300;

/// Bytes of one turn of the reader.
const TURN: usize = 1024 * 1024;

fn main() -> Outcome<()> {
    let mix = mix();
    lines(&mix);
    known();
    logparser(&mix)?;
    if std::env::args().any(|argument| argument == "parts") {
        return Ok(());
    }
    running::size()?;
    running::idle()?;
    running::many()?;
    running::fast()
}

/// Prints a number beside what is aimed at.
fn report(what: &str, measured: f64, unit: &str, goal: &str) {
    println!("  {what:64} {measured:12.3} {unit:10} {goal}");
}

/// A number in letters, since digits are no part of a pattern.
fn word(number: usize) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'g')).collect()
}

/// A message of the mix: 7 of 10 are `info`, 2 warnings, 1 an error.
fn message(number: usize) -> String {
    let pattern = word(number / 10 % PATTERNS);
    let severity = match number % 10 {
        1 | 6 => "WARN",
        3 => "ERROR",
        _ => "INFO",
    };
    format!(
        "2026-11-26 05:00:00.123 {severity} [worker-{}] order {number} of customer 0x{number:x} in {pattern} {pattern}x was \
         handled by (bank {number}) after {} ms",
        number % 16,
        number % 1000
    )
}

fn mix() -> Vec<String> {
    (0..LINES).map(message).collect()
}

fn origin(number: u64) -> Origin {
    Origin { subject: LogOwner::Container(number), source: LogSource::Docker, name: "stdout/stderr".into() }
}

fn now() -> Timestamp {
    Timestamp { instant: Instant::now(), wall: 1.0 }
}

fn settings() -> Settings {
    Settings { pattern_rate: 1_000_000, patterns: 1000, ..Settings::default() }
}

fn lines(mix: &[String]) {
    println!("{LINES} lines, {PATTERNS} patterns, from the bytes of the file to the counts, one core");
    let mut docker = String::new();
    let mut plain = String::new();
    for line in mix {
        let _in_memory = writeln!(
            docker,
            "{{\"log\":\"{line}\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-26T05:00:00.123456789Z\"}}"
        );
        let _in_memory = writeln!(plain, "{line}");
    }
    for (frame, text, goal) in
        [(Frame::Docker, &docker, "goal: at least 500,000"), (Frame::Plain, &plain, "")]
    {
        let mut counts = Counts::new(&settings());
        let mut best = f64::MAX;
        let mut allocated = 0;
        for _ in 0..5 {
            let (began, before) = (Instant::now(), allocations());
            read(frame, text.as_bytes(), &mut counts);
            best = best.min(began.elapsed().as_secs_f64());
            allocated = allocations() - before;
        }
        report(&format!("{frame:?}: lines a second"), LINES as f64 / best, "lines/s", goal);
        report(&format!("{frame:?}: allocations a line"), allocated as f64 / LINES as f64, "", "");
    }
}

fn read(frame: Frame, text: &[u8], counts: &mut Counts) {
    let (mut lines, mut streams, origin) = (Lines::default(), Streams::default(), origin(1));
    for turn in text.chunks(TURN) {
        let now = now();
        lines.push(turn, frame.longest(), |line| {
            let Some(record) = frame.record(line) else { return };
            streams.record(&record, true, now.instant, &mut |message| counts.message(&origin, message, now));
        });
    }
    streams.end(true, &mut |message| counts.message(&origin, message, now()));
}

/// 50 containers with 100 patterns each: 5,000 in all.
fn known() {
    println!("one message at warning, severity and pattern, 5,000 patterns are known");
    let mut counts = Counts::new(&settings());
    let messages: Vec<(Origin, String)> = (0..5000)
        .map(|number| {
            let (container, pattern) = (number / 100, word(number % 100));
            let text = format!(
                "2026-11-26 05:00:00.123 WARN [worker] order {number} in {pattern} {pattern}x was handled by bank after {number} ms"
            );
            (origin(container as u64), text)
        })
        .collect();
    let count = |counts: &mut Counts| {
        let now = now();
        for (origin, text) in &messages {
            counts.message(origin, Message::new(text, None), now);
        }
    };
    // Twice: buffers have their size then.
    for _ in 0..2 {
        count(&mut counts);
    }
    let mut best = f64::MAX;
    let before = allocations();
    for _ in 0..20 {
        let began = Instant::now();
        count(&mut counts);
        best = best.min(began.elapsed().as_secs_f64());
    }
    let allocated = allocations() - before;
    report("a message", best / messages.len() as f64 * 1e6, "µs", "goal: at most 1.5");
    report("allocations a message", allocated as f64 / (20 * messages.len()) as f64, "", "goal: none");
}

/// The same lines by coroot's parser.
fn logparser(mix: &[String]) -> Outcome<()> {
    let Some(program) = std::env::var_os("CONNSCOPE_LOGPARSER") else {
        println!(
            "coroot's logparser: NOT MEASURED, CONNSCOPE_LOGPARSER names no program (.ci/logparser builds it)"
        );
        return Ok(());
    };
    println!("the same lines by coroot's logparser (Go)");
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), mix.join("\n"))?;
    let output = std::process::Command::new(program).arg("bench").arg(file.path()).output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}
