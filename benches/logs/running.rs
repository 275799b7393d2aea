//! The running agent: idle, with many logs, and with one that is written to as fast as can be.

use crate::agent::Agent;
use crate::{Outcome, message, report, word};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Files, of as many containers.
const FILES: usize = 500;

/// How long each is watched.
const WATCHED: Duration = Duration::from_secs(20);

/// How long one file is written to as fast as can be, and how fast that is.
const FAST: Duration = Duration::from_secs(30);
const BYTES_A_SECOND: f64 = 100e6;

pub(crate) fn size() -> Outcome<()> {
    println!("the program");
    let bytes = std::fs::metadata(env!("CARGO_BIN_EXE_connscope"))?.len();
    report("size, as this bench was built", bytes as f64 / 1024.0 / 1024.0, "MiB", "");
    Ok(())
}

fn files(directory: &Path) -> Outcome<Vec<File>> {
    let open =
        |number| OpenOptions::new().create(true).append(true).open(directory.join(format!("{number}.log")));
    Ok((0..FILES).map(open).collect::<Result<_, _>>()?)
}

pub(crate) fn idle() -> Outcome<()> {
    println!("{FILES} files, nothing is written, {} s", WATCHED.as_secs());
    let directory = tempfile::tempdir()?;
    let _files = files(directory.path())?;
    let agent = Agent::start(Some(directory.path()), "")?;
    std::thread::sleep(Duration::from_secs(2));
    let before = agent.running.used()?;
    std::thread::sleep(WATCHED);
    let milliseconds = (agent.running.used()? - before) * 1e3;
    report("CPU time a second", milliseconds / WATCHED.as_secs_f64(), "ms", "goal: at most 5");
    Ok(())
}

/// Each file gets 10 lines a second, half of them at warning or above, 10 patterns a file.
pub(crate) fn many() -> Outcome<()> {
    println!("{FILES} files, 10 lines a second each, 5,000 patterns, {} s", WATCHED.as_secs());
    let without = Agent::start(None, "")?;
    for _ in 0..5 {
        without.running.scrape()?;
    }
    let (resident_without, most_without) = without.running.resident()?;
    let directory = tempfile::tempdir()?;
    let mut files = files(directory.path())?;
    let agent = Agent::start(Some(directory.path()), "pattern_rate: 100000")?;
    std::thread::sleep(Duration::from_secs(1));
    let (began, before) = (Instant::now(), agent.running.used()?);
    let mut round = 0;
    while began.elapsed() < WATCHED {
        for (number, file) in files.iter_mut().enumerate() {
            let pattern = word(number * 10 + round % 10);
            let severity = if round % 2 == 0 { "ERROR" } else { "WARN" };
            writeln!(
                file,
                "{severity} order {round} in {pattern} {pattern}x y{pattern} was refused by the bank"
            )?;
        }
        round += 1;
        std::thread::sleep(Duration::from_millis(100 * round as u64).saturating_sub(began.elapsed()));
    }
    let cpu = (agent.running.used()? - before) / began.elapsed().as_secs_f64();
    for _ in 0..5 {
        agent.running.scrape()?;
    }
    let (resident, most) = agent.running.resident()?;
    report("patterns", agent.sum("container_log_pattern_info")?, "", "");
    report(
        "resident memory more than without the source",
        resident - resident_without,
        "MiB",
        "goal: at most 24",
    );
    report("  at most, than that at most", most - most_without, "MiB", "");
    report("CPU time", cpu, "cores", "");
    Ok(())
}

pub(crate) fn fast() -> Outcome<()> {
    println!("100 MB/s into one file, {} s", FAST.as_secs());
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("fast.log");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let agent = Agent::start(Some(directory.path()), "")?;
    std::thread::sleep(Duration::from_secs(1));
    let mut piece = String::new();
    let mut lines = 0;
    while piece.len() < 1_000_000 {
        piece.push_str(&message(lines));
        piece.push('\n');
        lines += 1;
    }
    let (began, before) = (Instant::now(), agent.running.used()?);
    let (mut written, mut pieces, mut lag) = (0.0, 0_usize, 0_f64);
    while began.elapsed() < FAST {
        file.write_all(piece.as_bytes())?;
        written += piece.len() as f64;
        pieces += 1;
        if pieces % 500 == 0 {
            lag = lag.max(agent.sum("connscope_logs_lag_bytes")?);
        }
        let due = Duration::from_secs_f64(written / BYTES_A_SECOND);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = (agent.running.used()? - before) / seconds;
    report("written", written / seconds / 1e6, "MB/s", "");
    report("CPU time of the agent", cpu, "cores", "goal: at most 1");
    report("not read yet, at most", lag / 1e6, "MB", "");
    let ends = Instant::now() + Duration::from_mins(2);
    while agent.sum("container_log_io_bytes_total")? < written && Instant::now() < ends {
        std::thread::sleep(Duration::from_millis(250));
    }
    report(
        "until all was read, after the last byte",
        (began.elapsed().as_secs_f64() - seconds).max(0.0),
        "s",
        "",
    );
    let counted =
        agent.sum("container_log_io_bytes_total")? + agent.sum("connscope_logs_lost_bytes_total")?;
    report("bytes that are neither counted nor said to be lost", written - counted, "B", "goal: 0");
    std::thread::sleep(Duration::from_millis(1500));
    let missing = (lines * pieces) as f64 - agent.sum("container_log_messages_total")?;
    report("messages that are not counted", missing, "", "goal: 0");
    report("resident memory, at most", agent.running.resident()?.1, "MiB", "goal: at most 64");
    Ok(())
}
