//! `connscope top`: what the counters do now, on a terminal, or as lines where stdout is none.

use super::ask::AgentClient;
use super::status::AccessArgs;
use super::{CliError, CommandOutput, SourceFlags};
use crate::agent;
use crate::catalog::Config;
use crate::cloud::config::Detect;
use crate::config::Flags;
use crate::export::prometheus::Pull;
use crate::metric::naming::Profile;
use crate::settings::values;
use crate::signals::ShutdownMode;
use crate::stop::Stop;
use app::App;
use clap::Args;
use feed::Origin;
use history::{Frame, History};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use views::View;

mod app;
mod columns;
mod draw;
mod exposition;
mod feed;
mod history;
mod keys;
mod plain;
mod screen;
mod shown;
mod summary;
mod table;
mod terminal;
mod views;

/// Range of `--interval`.
const INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);

/// What `connscope top` shows, and of what.
#[derive(Debug, Clone, Args)]
pub(super) struct TopArgs {
    /// The agent's endpoint: `http://HOST:PORT`, `https://HOST:PORT`, `unix:/PATH` or `https+unix:/PATH` [default: where the
    /// configuration listens; if no agent runs there, or flags of sources are given, the sources are read without one].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    access: AccessArgs,
    /// Time between two readings.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    interval: String,
    /// View that is shown at first; where stdout is no terminal, the only one.
    #[arg(long, value_enum, value_name = "VIEW")]
    view: Option<View>,
    /// Ends after this many readings.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Shows readings until a key, a signal or `--count` ends it. The exit code is 0, and 1 if the last reading failed before
/// `--count` ended it.
pub(super) fn top(args: &TopArgs) -> Result<CommandOutput, CliError> {
    let interval = values::duration(&args.interval, INTERVAL)
        .map_err(|message| CliError::Usage(format!("--interval `{}` {message}", args.interval)))?;
    let stop = agent::stop_on_signals(ShutdownMode::Restore)?;
    let origin = origin(args, &stop)?;
    let shown = origin.shown();
    let readings = feed::start(origin, interval, &stop)
        .map_err(|error| CliError::Output(format!("starting the thread that reads: {error}")))?;
    if std::io::stdout().is_terminal() && is_able(|name| std::env::var_os(name)) {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut app = App::new(shown, args.view.unwrap_or(View::Sources));
        screen::run(&mut app, &readings, args.count, colours, &stop)
            .map_err(|error| CliError::Output(format!("using the terminal: {error}")))?;
        let failed = args.count.is_some() && app.problem.is_some();
        return Ok(CommandOutput { text: String::new(), code: u8::from(failed) });
    }
    let failed = printed(&readings, &shown, args, &stop)?;
    Ok(CommandOutput { text: String::new(), code: u8::from(failed) })
}

/// Whether a terminal knows the control sequences.
fn is_able(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    variable("TERM").is_some_and(|terminal| !terminal.is_empty() && terminal != "dumb")
}

fn origin(args: &TopArgs, stop: &Stop) -> Result<Origin, CliError> {
    let credentials = args.access.credentials();
    let within = args.access.within()?;
    let flags_given = !args.source.of_sources.given.is_empty();
    if let Some(url) = &args.url {
        if flags_given {
            return Err(CliError::Usage("flags of sources have no effect on the agent of --url".to_owned()));
        }
        return Ok(Origin::Agent(Box::new(AgentClient::at(url, credentials, within)?)));
    }
    let mut config = args.source.load(Flags::default())?;
    if !flags_given && AgentClient::has_address(&config) {
        let agent = AgentClient::of(&config, credentials, within)?;
        if !agent.is_absent() {
            return Ok(Origin::Agent(Box::new(agent)));
        }
    }
    sources(&mut config, stop)
}

fn sources(config: &mut Config, stop: &Stop) -> Result<Origin, CliError> {
    // Nothing that is shown depends on the cloud.
    config.resource.cloud.detect = Detect::Off;
    let shared = agent::watched(config, stop)?;
    let pull = Pull::new(&shared, Profile::Otel).map_err(CliError::Output)?;
    Ok(Origin::Sources(Box::new(pull), Arc::clone(&shared.sources)))
}

/// Prints every reading. Returns whether the last one failed.
fn printed(
    readings: &Receiver<Result<Frame, String>>,
    origin: &str,
    args: &TopArgs,
    stop: &Stop,
) -> Result<bool, CliError> {
    let mut history = History::default();
    let mut failed: Option<String> = None;
    let mut left = args.count;
    while left != Some(0) && !stop.draining() {
        let reading = match readings.recv_timeout(crate::timeouts::GLANCE) {
            Ok(reading) => reading,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        left = left.map(|left| left - 1);
        match reading {
            Ok(frame) => {
                history.push(frame);
                failed = None;
                let text = plain::lines(&history, origin, args.view);
                if !super::wrote(&text)? {
                    return Ok(false);
                }
            }
            Err(why) => {
                // The same failure is said when it begins.
                if failed.as_ref() != Some(&why) {
                    crate::log::say_last(&format!("connscope: {why}"));
                }
                failed = Some(why);
            }
        }
    }
    Ok(args.count.is_some() && failed.is_some())
}
