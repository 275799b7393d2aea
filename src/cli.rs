//! The command line: `run` (the default), `once`, `top`, `check`, `status`, `healthcheck`, `completions`, `metrics`, `config`.
//!
//! Exit codes: 0, 1 where something asked for could not be had, 2 for bad input.

use crate::agent::{self, AgentError};
use crate::catalog::{Config, SOURCES};
use crate::cloud::Cloud;
use crate::cloud::config::Detect;
use crate::config::environment;
use crate::config::schema::SCHEMA;
use crate::config::{ConfigError, Flags, Format as LogFormat, Level, Protocol};
use crate::host::Host;
use crate::import::{TOOLS, Tool};
use crate::metric::naming::Profile;
use crate::metric::reference;
use crate::reading::chain;
use crate::signals::ShutdownMode;
use crate::source::Check;
use crate::sys::activation;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use flags::SourceFlagArgs;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

mod ask;
mod flags;
mod once;
mod status;
mod top;

/// Reports what the Linux kernel knows about connections, over OTLP and to Prometheus: connection tracking, sockets, whether
/// peers are reachable, containers and their logs.
#[derive(Debug, Parser)]
#[command(name = "connscope", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the agent (the default).
    Run(RunFlags),
    /// Runs one cycle and prints it; exit code 1 if a source failed.
    Once(once::OnceArgs),
    /// Shows sources, the connection tracking table, rates, groups, flows, probes, containers and logs, each second: of a running
    /// agent, or without one.
    Top(top::TopArgs),
    /// Tries each way to read each source; exit code 1 if a source has none that works.
    Check {
        #[command(flatten)]
        source: SourceFlags,
        /// Output format.
        #[arg(long, value_enum, default_value = "text")]
        format: CheckFormat,
    },
    /// Prints the status of a running agent; exit code 1 if a source or the push fails, or if no agent answers.
    Status {
        #[command(flatten)]
        query: status::QueryArgs,
        /// Output format.
        #[arg(long, value_enum, default_value = "text")]
        format: status::Format,
    },
    /// Checks whether a running agent is ready, for images without a shell; exit code 1 if it is not.
    Healthcheck {
        #[command(flatten)]
        query: status::QueryArgs,
    },
    /// Prints a reference of all metrics.
    Metrics {
        /// Output format.
        #[arg(long, value_enum, default_value = "markdown")]
        format: ReferenceFormat,
    },
    /// Prints completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Validates the configuration and prints what is in effect; the values of headers are hidden.
    #[command(args_conflicts_with_subcommands = true)]
    Config {
        #[command(subcommand)]
        command: Option<ConfigCommand>,
        #[command(flatten)]
        run: RunFlags,
        /// Prints the JSON Schema of the file instead.
        #[arg(long)]
        schema: bool,
        /// Only validates, with the files that the configuration names (certificates, the web configuration, files of targets);
        /// prints nothing.
        #[arg(long, conflicts_with = "schema")]
        quiet: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Converts the configuration of another tool, with a comment where the two differ.
    Import {
        /// Tool whose configuration is imported.
        #[arg(value_parser = tools())]
        tool: &'static Tool,
        /// Its configuration file, if it has one.
        file: Option<PathBuf>,
        /// Its command line behind `--`, without its name, if it has no file.
        #[arg(last = true)]
        flags: Vec<String>,
    },
}

/// The names of the tools, on the command line.
fn tools() -> impl TypedValueParser<Value = &'static Tool> {
    let values = TOOLS.iter().map(|tool| PossibleValue::new(tool.name).help(tool.about));
    PossibleValuesParser::new(values)
        .try_map(|name| TOOLS.iter().find(|tool| tool.name == name).ok_or("no such tool"))
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CheckFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReferenceFormat {
    Markdown,
    Json,
}

#[derive(Debug, Clone, Args)]
struct RunFlags {
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    log: LogFlags,
    /// Receiver of the OTLP push [default: `http://localhost:4317`].
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// OTLP protocol, or none [default: grpc].
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    otlp_protocol: Option<Protocol>,
    /// Push interval [default: 10s].
    #[arg(long, value_name = "DURATION")]
    interval: Option<String>,
    /// The first push is made a random part of this after the start [default: the interval].
    #[arg(long, value_name = "DURATION")]
    jitter: Option<String>,
    /// Where the HTTP endpoint listens: `[ADDR]:PORT`, `unix:/PATH`, `systemd` for sockets that the service manager hands over, or `off`;
    /// may be repeated [default: 127.0.0.1:9371].
    #[arg(long, alias = "web.listen-address", value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Metric names of the Prometheus endpoint [default: otel].
    #[arg(long, value_enum, value_name = "PROFILE")]
    prometheus_naming: Option<Profile>,
    /// Allows `POST /-/reload`, which reloads the configuration as SIGHUP does.
    #[arg(long = "web.enable-lifecycle")]
    enable_lifecycle: bool,
    /// File with TLS, passwords, headers and a rate limit for the HTTP endpoint, in the format of Prometheus' exporter-toolkit.
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
struct SourceFlags {
    /// Configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    of_sources: SourceFlagArgs,
}

#[derive(Debug, Clone, Args)]
struct LogFlags {
    /// Log format [default: text].
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Log level [default: info].
    #[arg(long, value_enum, value_name = "LEVEL")]
    log_level: Option<Level>,
}

impl SourceFlags {
    /// A configuration file and no flags.
    fn of(config: Option<PathBuf>) -> Self {
        Self { config, of_sources: SourceFlagArgs { given: Vec::new() } }
    }

    fn load(&self, mut flags: Flags) -> Result<Config, CliError> {
        flags.sources.clone_from(&self.of_sources.given);
        let process = environment::Process::default();
        let config = Config::load(self.config.as_deref(), &|name| process.get(name), &flags);
        process.check()?;
        Ok(config?)
    }
}

impl LogFlags {
    fn flags(&self) -> Flags {
        Flags { format: self.log_format, level: self.log_level, ..Flags::default() }
    }
}

impl RunFlags {
    fn load(&self) -> Result<Config, CliError> {
        let flags = Flags {
            otlp_endpoint: self.otlp_endpoint.clone(),
            otlp_protocol: self.otlp_protocol,
            interval: self.interval.clone(),
            jitter: self.jitter.clone(),
            listen: self.listen.clone(),
            naming: self.prometheus_naming,
            lifecycle: self.enable_lifecycle,
            web_config: self.web_config.clone(),
            ..self.log.flags()
        };
        self.source.load(flags)
    }
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line is wrong; clap's message on one line.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The agent did not start.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The output could not be produced.
    #[error("{0}")]
    Output(String),
}

impl CliError {
    /// Exit code of the process.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) | Self::Agent(AgentError::Input(_)) => 2,
            Self::Agent(_) | Self::Output(_) => 1,
        }
    }
}

/// Result of a command: text for stdout, and the exit code.
#[derive(Debug, Default)]
pub struct CommandOutput {
    /// Text for stdout.
    pub text: String,
    /// Exit code of the process.
    pub code: u8,
}

/// Runs the command line.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<CommandOutput, CliError> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            return Ok(CommandOutput { text: error.to_string(), code: 0 }); // --help, --version
        }
        Err(error) => return Err(CliError::Usage(one_line(&error.to_string()))),
    };
    match cli.command {
        None => run_agent(&cli.run),
        Some(Command::Run(flags)) => run_agent(&flags),
        Some(Command::Once(args)) => once::once(&args),
        Some(Command::Top(args)) => top::top(&args),
        Some(Command::Check { source, format }) => check(&source, format),
        Some(Command::Completions { shell }) => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "connscope", &mut text);
            Ok(CommandOutput { text: String::from_utf8_lossy(&text).into_owned(), code: 0 })
        }
        Some(Command::Status { query, format }) => status::status(&query, format),
        Some(Command::Healthcheck { query }) => status::healthcheck(&query),
        Some(Command::Metrics { format: ReferenceFormat::Markdown }) => {
            Ok(CommandOutput { text: reference::markdown(&agent::parts()), code: 0 })
        }
        Some(Command::Metrics { format: ReferenceFormat::Json }) => json(&reference::json(&agent::parts())),
        Some(Command::Config { command: Some(ConfigCommand::Import { tool, file, flags }), .. }) => {
            Ok(CommandOutput { text: tool.read(file.as_deref(), &flags)?, code: 0 })
        }
        Some(Command::Config { schema: true, .. }) => Ok(CommandOutput { text: SCHEMA.to_owned(), code: 0 }),
        Some(Command::Config { run, quiet: true, .. }) => {
            agent::startable::check(&run.load()?)?;
            Ok(CommandOutput::default())
        }
        Some(Command::Config { run, .. }) => {
            let config = run.load()?;
            agent::startable::variables(&config)?;
            Ok(CommandOutput { text: config.print(), code: 0 })
        }
    }
}

fn run_agent(flags: &RunFlags) -> Result<CommandOutput, CliError> {
    let config = flags.load()?;
    // Before anything is opened that stays open.
    let variables = environment::Process::default();
    let handed_over = activation::take(|name| variables.get(name)).map_err(AgentError::Input)?;
    start_log(&config)?;
    let flags = flags.clone();
    agent::run(config, Box::new(move || flags.load().map_err(|error| chain(&error))), handed_over)?;
    Ok(CommandOutput::default())
}

fn start_log(config: &Config) -> Result<(), AgentError> {
    let doing = || "starting the thread of the log".to_owned();
    crate::log::start(config.log).map_err(|cause| AgentError::Start { doing: doing(), cause })
}

fn check(source: &SourceFlags, format: CheckFormat) -> Result<CommandOutput, CliError> {
    let config = source.load(Flags::default())?;
    let stop = agent::stop_on_signals(ShutdownMode::Kill)?;
    let host = Host::new(&config.inventory);
    let mut checks: Vec<Check> = Vec::new();
    let mut code = 0;
    for spec in SOURCES.iter().filter(|spec| (spec.enabled)(&config.sources)) {
        let ways = (spec.check)(&config.sources, &host, &stop);
        if !(spec.suffices)(&config.sources, &ways) {
            code = 1;
        }
        checks.extend(ways);
    }
    let cloud = &config.resource.cloud;
    if cloud.detect != Detect::Off {
        let check = Check::new("cloud", "metadata", Cloud::new(cloud, &config.inventory.root).check());
        // What was only looked for need not be there.
        if !check.works() && cloud.detect != Detect::Auto {
            code = 1;
        }
        checks.push(check);
    }
    match format {
        CheckFormat::Json => json(&checks).map(|done| CommandOutput { code, ..done }),
        CheckFormat::Text => {
            let mut text = String::new();
            for Check { source, via, status, detail, .. } in checks {
                let _infallible = writeln!(text, "{source:10} {via:8} {status:8} {detail}");
            }
            Ok(CommandOutput { text, code })
        }
    }
}

fn json(value: &impl serde::Serialize) -> Result<CommandOutput, CliError> {
    let mut text =
        serde_json::to_string_pretty(value).map_err(|error| CliError::Output(error.to_string()))?;
    text.push('\n');
    Ok(CommandOutput { text, code: 0 })
}

/// Writes to stdout now, for a command that prints more than once. `false` if nobody reads it any more.
fn wrote(text: &str) -> Result<bool, CliError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::Output(format!("writing to stdout: {error}"))),
    }
}

/// clap explains itself on several lines; its first says what is wrong, and a tip may say what was meant.
fn one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("the command line is wrong");
    let mut line = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    for more in lines.take_while(|line| !line.starts_with("Usage") && !line.starts_with("For more")) {
        let _infallible = write!(line, " {more}");
    }
    line
}
