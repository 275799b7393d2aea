//! `connscope status` and `connscope healthcheck`: how a running agent is doing.

use super::ask::{AgentClient, Credentials};
use super::{CliError, CommandOutput, SourceFlags};
use crate::config::Flags;
use crate::settings::values;
use crate::text;
use crate::web::state::{SourceStatus, Status};
use clap::{Args, ValueEnum};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Range of `--timeout`.
const WITHIN: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(5);

/// Which agent to query.
#[derive(Debug, Clone, Args)]
pub(super) struct QueryArgs {
    /// The agent's endpoint: `http://HOST:PORT`, `https://HOST:PORT`, `unix:/PATH` or `https+unix:/PATH` [default: where the
    /// configuration listens].
    url: Option<String>,
    /// Configuration file (YAML) of the agent, for its address and whether it speaks TLS.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    access: AccessArgs,
}

/// What an agent is shown, and how long it is waited for.
#[derive(Debug, Clone, Args)]
pub(super) struct AccessArgs {
    /// File with the certificate authorities that an https endpoint is verified against [default: those of the system].
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Name that the certificate of an https endpoint must have [default: the host of the URL].
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// File with a certificate to show to an https endpoint.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// File with the private key of that certificate.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// User of an endpoint that asks for one.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,
    /// File whose first line is the password of that user.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// How long the answer is waited for.
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    timeout: String,
}

/// Output format of `status`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

impl AccessArgs {
    /// How long an answer is waited for.
    pub(super) fn within(&self) -> Result<Duration, CliError> {
        values::duration(&self.timeout, WITHIN)
            .map_err(|message| CliError::Usage(format!("--timeout `{}` {message}", self.timeout)))
    }

    /// What is shown to the agent.
    pub(super) fn credentials(&self) -> Credentials {
        Credentials {
            authorities: self.ca_file.clone(),
            server_name: self.server_name.clone(),
            identity: self.cert_file.clone().zip(self.key_file.clone()),
            user: self.user.clone().zip(self.password_file.clone()),
        }
    }
}

impl QueryArgs {
    fn running(&self) -> Result<AgentClient, CliError> {
        let (credentials, within) = (self.access.credentials(), self.access.within()?);
        if let Some(url) = &self.url {
            return AgentClient::at(url, credentials, within);
        }
        let file = SourceFlags::of(self.config.clone());
        AgentClient::of(&file.load(Flags::default())?, credentials, within)
    }
}

/// Prints the status of a running agent. The exit code is 0 if nothing fails, and 1 if something does or no agent answers.
pub(super) fn status(query: &QueryArgs, format: Format) -> Result<CommandOutput, CliError> {
    let running = query.running()?;
    let failed = |why: String| CliError::Output(format!("asking {}: {why}", running.shown()));
    let text = text_of(&running).map_err(&failed)?;
    let status = parsed(&text).map_err(&failed)?;
    let code = u8::from(!well(&status));
    Ok(CommandOutput { text: if matches!(format, Format::Json) { text } else { table(&status) }, code })
}

/// Status of a running agent. The error is a sentence without the URL.
pub(super) fn of(running: &AgentClient) -> Result<Status, String> {
    parsed(&text_of(running)?)
}

fn text_of(running: &AgentClient) -> Result<String, String> {
    match running.get("/-/status")? {
        (200, text) => Ok(text),
        (404, _) => Err("it has no /-/status: it is no connscope, or an older one".to_owned()),
        (status, body) => Err(refused(running, status, &body)),
    }
}

fn parsed(text: &str) -> Result<Status, String> {
    serde_json::from_str(text).map_err(|error| format!("/-/status is no status: {error}"))
}

/// Says whether a running agent is ready, for a container engine: the code is 0 or 1. Where the endpoint asks for a password and none
/// is shown, or its rate limit is used up, it says no more than that the process responds.
pub(super) fn healthcheck(query: &QueryArgs) -> Result<CommandOutput, CliError> {
    let running = query.running()?;
    let failed = |why: String| CliError::Output(format!("asking {}: {why}", running.shown()));
    let mut answer = running.get("/-/ready").map_err(&failed)?;
    if answer.0 == 429 || (answer.0 == 401 && !running.has_user()) {
        answer = running.get("/-/healthy").map_err(&failed)?;
    }
    match answer {
        (200, text) => Ok(CommandOutput { text: first_line(&text) + "\n", code: 0 }),
        (status, body) => Err(failed(refused(&running, status, &body))),
    }
}

/// The first line of an answer, fit for a terminal.
pub(super) fn first_line(text: &str) -> String {
    text::bounded(text.lines().next().unwrap_or_default(), text::LONGEST_ERROR)
}

/// Why an agent does not answer with what it was asked for.
pub(super) fn refused(running: &AgentClient, status: u16, body: &str) -> String {
    match (status, first_line(body)) {
        (401, _) if !running.has_user() => {
            "it requires a user and a password: use --user and --password-file".to_owned()
        }
        (_, line) => format!("status {status}: {line}"),
    }
}

/// Whether the agent is ready and no source, push or reload fails. Before the first cycle an agent is not ready.
fn well(status: &Status) -> bool {
    let failing = status.sources.iter().any(SourceStatus::is_failing);
    let pushed = status.push.as_ref().is_none_or(|push| push.warning.is_none());
    status.ready && !status.config_refused && !failing && pushed
}

fn table(status: &Status) -> String {
    let ready = if status.ready { "ready" } else { "not ready" };
    let mut text = format!("connscope {}: {ready}\n\n", clean(&status.version));
    let _infallible = writeln!(text, "{:12} {:14} {:>12} {:>9}", "SOURCE", "STATE", "LAST SUCCESS", "SERIES");
    for source in &status.sources {
        let (name, state) = (clean(&source.source), clean(&source.state));
        let last = ago(source.last_success_seconds);
        let _infallible = writeln!(text, "{name:12} {state:14} {last:>12} {:>9}", source.series);
    }
    let push = match &status.push {
        None => "none, push is off".to_owned(),
        Some(push) => ago(push.last_success_seconds),
    };
    let _infallible = writeln!(text, "\nLast successful push: {push}");
    for source in &status.sources {
        for warning in &source.warnings {
            let _infallible = writeln!(text, "warning: {}: {}", clean(&source.source), clean(warning));
        }
    }
    let push = status.push.iter().filter_map(|push| push.warning.as_ref());
    for warning in push.map(|why| format!("the push failed: {why}")).chain(status.warnings.iter().cloned()) {
        let _infallible = writeln!(text, "warning: {}", clean(&warning));
    }
    text
}

/// Makes the text of an agent safe for a terminal.
fn clean(text: &str) -> String {
    text::bounded(text, text::LONGEST_ERROR)
}

fn ago(seconds: Option<f64>) -> String {
    let age = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    age.map_or_else(
        || "never".to_owned(),
        |age| format!("{} ago", humantime::format_duration(Duration::from_secs(age.as_secs()))),
    )
}
