//! The output of `conntrack -S`: one line per CPU, each counter as `key=value`.
//!
//! Keys are taken as they are, whatever the version of the kernel and of conntrack-tools (`src/conntrack.c`,
//! `nfct_stats_attr_cb`): `cpu=0   \tfound=0 invalid=0 … chaintoolong=0 `. If the tool falls back to procfs, it prints
//! the column names of that file, with `entries=` on every line, and since 1.4.7 exits with 1 although it has printed
//! the counters.

use super::fields::{Field, Malformed, Row, Statistics, cpu, cut};
use super::procfs::leave_out_dead;
use crate::reading::SourceError;
use crate::stop::Stop;
use crate::sys::process::{self, RunError};
use rustix::thread::CapabilitySet;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// Parses the output of `conntrack -S`.
pub fn parse(output: &[u8]) -> Result<Statistics, Malformed> {
    let text = std::str::from_utf8(output).map_err(|_| Malformed::NotText)?;
    let mut statistics = Statistics::default();
    for (line, row) in text.lines().enumerate().map(|(index, row)| (index + 1, row)) {
        if row.trim().is_empty() {
            continue;
        }
        let mut number = None;
        let mut entries = None;
        let mut fields: Vec<(Field, u64)> = Vec::new();
        for word in row.split_ascii_whitespace() {
            let (key, value) = pair(word).ok_or_else(|| Malformed::Word { line, word: cut(word) })?;
            match key {
                _ if number.is_none() && key != "cpu" => return Err(Malformed::NoCpu { line }),
                "cpu" if number.is_none() => number = Some(cpu(value)?),
                "entries" if entries.is_none() => entries = Some(value),
                _ => {
                    let field = Field::named(key);
                    if matches!(key, "cpu" | "entries") || fields.iter().any(|(present, _)| *present == field)
                    {
                        return Err(Malformed::Twice { line, word: cut(key) });
                    }
                    fields.push((field, value));
                }
            }
        }
        let cpu = number.ok_or(Malformed::NoCpu { line })?;
        statistics.entries = entries.or(statistics.entries);
        statistics.add(Row { cpu, fields })?;
    }
    if statistics.rows.is_empty() { Err(Malformed::Empty) } else { Ok(statistics) }
}

fn pair(word: &str) -> Option<(&str, u64)> {
    let (key, value) = word.split_once('=')?;
    let plain = !key.is_empty()
        && key.len() <= 64
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    // `parse` alone would accept `+5`, which no kernel prints.
    (plain && value.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
    Some((key, value.parse().ok()?))
}

/// Default of `command`: the program of conntrack-tools.
pub const PROGRAM: &str = "conntrack";

/// Runs `program -S` in the calling thread's network namespace and parses its output. An exit code other than 0 is an
/// error with the text of stderr, whatever was printed before.
pub fn ask(
    program: &str,
    release: Option<(u32, u32)>,
    timeout: Duration,
    stop: &Stop,
) -> Result<Statistics, SourceError> {
    let output = run(program, "-S", timeout, stop)?;
    let mut statistics = parse(&output)
        .map_err(|cause| SourceError::parse(format!("parsing the output of {program} -S"), cause))?;
    if statistics.entries.is_some() {
        // The tool has fallen back to procfs, which has columns of counters that the kernel no longer maintains.
        leave_out_dead(&mut statistics, release);
    }
    Ok(statistics)
}

/// The version line of the tool (`conntrack v1.4.7 (conntrack-tools)`), for `connscope check`.
pub fn version(program: &str, timeout: Duration, stop: &Stop) -> Result<String, SourceError> {
    let output = run(program, "--version", timeout, stop)?;
    Ok(String::from_utf8_lossy(&output).lines().next().unwrap_or_default().trim().to_owned())
}

fn run(program: &str, argument: &str, timeout: Duration, stop: &Stop) -> Result<Vec<u8>, SourceError> {
    let doing = format!("running {program} {argument}");
    let output = match process::run(program, &[argument], timeout, stop.killed()) {
        Ok(output) => output,
        Err(RunError::Io(cause)) if cause.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(SourceError::denied(doing, "the permission to execute it", cause));
        }
        Err(RunError::Io(cause)) if cause.kind() == std::io::ErrorKind::NotFound && program != PROGRAM => {
            // The name is configured.
            let cause = format!("there is no such program; is sources.conntrack.command right? {cause}");
            return Err(SourceError::io(doing, cause));
        }
        Err(RunError::Io(cause)) => return Err(SourceError::from_io(doing, "", cause)),
        Err(RunError::Timeout) => return Err(SourceError::Timeout { doing, after: timeout }),
        Err(RunError::TooMuch) => return Err(SourceError::parse(doing, "it printed more than 4 MiB")),
        Err(RunError::Stopped) => return Err(SourceError::io(doing, "killed, because the source ends")),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let cause =
        if said.is_empty() { output.status.to_string() } else { format!("{}: {said}", output.status) };
    // Without the privilege the tool reads procfs instead, and exits with 1 although it has printed the counters.
    let fell_back = parse(&output.stdout).is_ok_and(|statistics| statistics.entries.is_some());
    Err(if lacks_privilege(&said) || fell_back {
        SourceError::denied(doing, "CAP_NET_ADMIN", cause)
    } else if output.status.signal() == Some(libc::SIGSYS) {
        SourceError::denied(doing, "a seccomp filter that allows it", cause)
    } else if said.contains(NEITHER_WAY) && !privileged() {
        SourceError::denied(doing, "CAP_NET_ADMIN", cause)
    } else if said.contains(NO_NETFILTER) || said.contains(NEITHER_WAY) {
        SourceError::absent(doing, format!("is the module nf_conntrack_netlink loaded? {cause}"))
    } else {
        SourceError::io(doing, cause)
    })
}

/// The message of the tool if the kernel has no netfilter netlink, which is a module. 1.4.7 crashes after it.
const NO_NETFILTER: &str = "mnl_socket_open: Protocol not supported";

/// The message of the tool if netlink did not answer and there is no procfs file to fall back to. Netlink may have
/// refused for lack of privilege.
const NEITHER_WAY: &str = "Can't open /proc interface";

fn privileged() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

/// Whether an error message reports a missing privilege: in the words of the tool, of the kernel's error numbers, or of
/// the program that started it (sudo).
fn lacks_privilege(said: &str) -> bool {
    let said = said.to_lowercase();
    let words = [
        "cap_net_admin",
        "must be root",
        "permission denied",
        "not permitted",
        "superuser",
        "privilege",
        "password is required",
    ];
    words.iter().any(|word| said.contains(word))
}
