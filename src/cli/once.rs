//! `connscope once`: one cycle, or with `--watch` one after the other, printed.

#![expect(clippy::disallowed_methods, reason = "a watched cycle says when it was")]

use super::{CliError, CommandOutput, LogFlags, SourceFlags};
use crate::agent;
use crate::config::Flags;
use crate::export::stdout::{Format, Printer};
use crate::metric::naming::Profile;
use crate::reading::SourceOutcome;
use crate::settings::values;
use crate::signals::ShutdownMode;
use clap::Args;
use std::time::{Duration, Instant, SystemTime};

/// Range of `--watch`.
const WATCH: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(24);

/// What is printed, and how often.
#[derive(Debug, Clone, Args)]
pub(super) struct OnceArgs {
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    log: LogFlags,
    /// Output format.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Metric names of `--format prometheus`.
    #[arg(long, value_enum, value_name = "PROFILE")]
    prometheus_naming: Option<Profile>,
    /// Runs cycles at this interval until a signal; the table has the increase per second of each counter.
    #[arg(long, value_name = "DURATION")]
    watch: Option<String>,
}

/// Prints a cycle, or cycle after cycle. The exit code is 1 if a source failed in the last one.
pub(super) fn once(args: &OnceArgs) -> Result<CommandOutput, CliError> {
    let watch = args.watch.as_ref().map(|text| {
        values::duration(text, WATCH)
            .map_err(|message| CliError::Usage(format!("--watch `{text}` {message}")))
    });
    let watch = watch.transpose()?;
    let config = args.source.load(Flags { naming: args.prometheus_naming, ..args.log.flags() })?;
    super::start_log(&config)?;
    let stop = agent::stop_on_signals(ShutdownMode::Kill)?;
    let shared =
        if watch.is_some() { agent::watched(&config, &stop)? } else { agent::shared(&config, &stop)? };
    let mut printer =
        Printer::new(&shared, args.format, config.export.prometheus.naming).map_err(CliError::Output)?;
    let Some(interval) = watch else {
        let (text, outcomes) = printer.cycle().map_err(CliError::Output)?;
        // What a signal cut short is not all that was asked for.
        let code = u8::from(failed(&outcomes) || stop.draining());
        return Ok(CommandOutput { text, code });
    };
    loop {
        let began = Instant::now();
        let (text, outcomes) = printer.cycle().map_err(CliError::Output)?;
        let head = match args.format {
            Format::Table => format!("{}\n", humantime::format_rfc3339_seconds(SystemTime::now())),
            _ => String::new(),
        };
        // A cycle that a signal cut short is not printed; those before it are complete.
        let ends = stop.draining()
            || !super::wrote(&format!("{head}{text}\n"))?
            || stop.killed_within(interval.saturating_sub(began.elapsed()));
        if ends {
            return Ok(CommandOutput {
                text: String::new(),
                code: u8::from(failed(&outcomes) && !stop.draining()),
            });
        }
    }
}

fn failed(outcomes: &[SourceOutcome]) -> bool {
    outcomes.iter().any(|outcome| !outcome.failures.is_empty())
}
