//! The parts of the pipeline as processes in one network namespace: Collector, Prometheus and agent, all on their
//! default ports. Each is killed when its value goes out of scope, panic or not; `.ci/e2e` sees to it that nothing
//! outlives the test where not even that happens.

use crate::support::{Agent, Namespace, PATIENCE};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often it is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// Where the agent is scraped.
pub(crate) const AGENT: u16 = 9371;
const PROMETHEUS: u16 = 9090;
const HEALTH_CHECK: u16 = 13133;

/// Asks until there is an answer; `what` and the last refusal are for the panic.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(why) => assert!(Instant::now() < deadline, "waited in vain until {what}: {why}"),
        }
        std::thread::sleep(GLANCE);
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A namespace in which the conversation of the pipeline itself leaves no trace in the connection tracking table, so
/// that what the test does is all there is to count. The rules for that traffic are there.
pub(crate) fn quiet_namespace() -> Option<Namespace> {
    let namespace = Namespace::new()?;
    let ports = "{ 4317, 4318, 8888, 9090, 9371-9379, 13133 }";
    let rules = format!(
        "add chain inet t raw {{ type filter hook output priority raw; }}; \
         add rule inet t raw tcp dport {ports} notrack; \
         add rule inet t raw tcp sport {ports} notrack"
    );
    namespace.run("nft", &[&rules]);
    crate::readings::arrange(&namespace);
    Some(namespace)
}

/// `GET` on loopback of the namespace: status and body, or why there is none.
pub(crate) fn get(namespace: &Namespace, port: u16, path: &str) -> Result<(u16, String), String> {
    namespace.inside(|| {
        let wrong = |error: std::io::Error| format!("port {port}: {error}");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(wrong)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(wrong)?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").map_err(wrong)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(wrong)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {answer:?}"))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(|| format!("no status: {head}"))?, body.to_owned()))
    })
}

/// `GET` of a page that is there.
pub(crate) fn page(namespace: &Namespace, port: u16, path: &str) -> Result<String, String> {
    match get(namespace, port, path)? {
        (200, body) => Ok(body),
        (status, body) => Err(format!("port {port}: {status}: {body}")),
    }
}

/// A program of the pipeline; killed when dropped, and if that is because of a panic, its log is shown.
struct Daemon {
    name: &'static str,
    child: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start(
        namespace: &Namespace,
        name: &'static str,
        folder: tempfile::TempDir,
        arrange: impl FnOnce(&mut Command, &Path) + Send,
    ) -> Self {
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(name);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        arrange(&mut command, folder.path());
        let child = namespace.inside(move || command.spawn());
        let child = child.unwrap_or_else(|error| panic!("{name} is needed (make e2e builds it): {error}"));
        Self { name, child, folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Panics where it has ended by itself: waiting for it would be in vain.
    fn running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} ended: {status}", self.name);
        }
    }

    fn kill(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the last lines of {}:\n{}",
                self.name,
                lines[lines.len().saturating_sub(10)..].join("\n")
            );
        }
    }
}

/// The Collector with the demo's configuration.
pub(crate) struct Collector {
    daemon: Daemon,
}

impl Collector {
    /// Starts it, waits until it is healthy.
    pub(crate) fn start(namespace: &Namespace) -> Self {
        Self::start_with(namespace, None, &[])
    }

    /// Starts it with a second configuration laid over the demo's, a file or `yaml:…`, and variables for that.
    pub(crate) fn start_with(
        namespace: &Namespace,
        overlay: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(namespace, "otelcol", folder, |command, folder| {
            command.arg("--config").arg(repository("otel-collector/config.yaml"));
            if let Some(overlay) = overlay {
                command.arg("--config").arg(overlay);
            }
            command
                .env("PROMETHEUS_URL", format!("http://127.0.0.1:{PROMETHEUS}"))
                .env("OTELCOL_STORAGE", folder.join("queue"))
                .envs(variables.iter().copied());
        });
        healthy(namespace, &mut daemon);
        Self { daemon }
    }

    /// Kills it, without a warning.
    pub(crate) fn kill(&mut self) {
        self.daemon.kill();
    }
}

fn healthy(namespace: &Namespace, daemon: &mut Daemon) {
    until("the Collector is healthy", || {
        daemon.running();
        page(namespace, HEALTH_CHECK, "/")
    });
}

/// Prometheus with the demo's configuration.
pub(crate) struct Prometheus<'a> {
    namespace: &'a Namespace,
    _daemon: Daemon,
}

/// A sample: labels, the name among them, and value.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    /// The value of a label; empty is absent.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// The names of its labels.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.labels.keys().map(String::as_str)
    }

    /// With `le="1"` where it is `le="1.0"`, and `le="0.00001"` where it is `le="1e-05"`: Prometheus writes the bounds of
    /// what it scrapes the second way, and those of what comes over OTLP the first.
    pub(crate) fn with_plain_bounds(&self) -> Self {
        let mut plain = self.clone();
        if let Some(bound) = plain.labels.get_mut("le") {
            *bound = bound.parse::<f64>().map_or_else(|_| bound.clone(), |number| number.to_string());
        }
        plain
    }

    /// `name{label="value",…}` without some of the labels.
    pub(crate) fn series(&self, without: &BTreeSet<String>) -> String {
        let labels: Vec<String> = self
            .labels
            .iter()
            .filter(|(name, _)| *name != "__name__" && !without.contains(*name))
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let name = self.label("__name__");
        if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
    }
}

impl<'a> Prometheus<'a> {
    /// Starts it, waits until it is ready.
    pub(crate) fn start(namespace: &'a Namespace) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shipped = repository("deploy/prometheus");
        for name in ["prometheus.yml", "rules"] {
            std::os::unix::fs::symlink(shipped.join(name), folder.path().join(name)).unwrap();
        }
        // The one thing every environment has of its own.
        std::fs::create_dir(folder.path().join("targets")).unwrap();
        let targets = format!("- targets: ['127.0.0.1:{AGENT}']\n");
        std::fs::write(folder.path().join("targets/agents.yml"), targets).unwrap();
        let mut daemon = Daemon::start(namespace, "prometheus", folder, |command, folder| {
            command
                .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
                .arg("--web.enable-otlp-receiver");
        });
        until("Prometheus is ready", || {
            daemon.running();
            page(namespace, PROMETHEUS, "/-/ready")
        });
        Self { namespace, _daemon: daemon }
    }

    fn ask(&self, path: &str) -> Result<Value, String> {
        let answer = page(self.namespace, PROMETHEUS, path)?;
        let mut answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
        if answer["status"] == "success" { Ok(answer["data"].take()) } else { Err(answer.to_string()) }
    }

    /// What a query gives now.
    pub(crate) fn query(&self, query: &str) -> Result<Vec<Sample>, String> {
        let encoded = percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
        let data = self.ask(&format!("/api/v1/query?query={encoded}"))?;
        let samples = data["result"].as_array().ok_or_else(|| format!("no result: {data}"))?;
        Ok(samples
            .iter()
            .map(|sample| Sample {
                labels: serde_json::from_value(sample["metric"].clone()).unwrap(),
                value: sample["value"][1].as_str().unwrap().parse().unwrap(),
            })
            .collect())
    }

    /// What a target says of a metric: type, unit, help.
    pub(crate) fn metadata(&self, metric: &str) -> Result<Value, String> {
        let data = self.ask(&format!("/api/v1/metadata?metric={metric}"))?;
        match data[metric].as_array().map(Vec::as_slice) {
            Some([one]) => Ok(one.clone()),
            _ => Err(format!("{metric}: {data}")),
        }
    }

    /// What the OTLP receiver copies from the resource onto every series, as labels.
    pub(crate) fn resource_labels(&self) -> Result<BTreeSet<String>, String> {
        let data = self.ask("/api/v1/status/config")?;
        let text = data["yaml"].as_str().ok_or("no configuration")?;
        let config: Value = connscope::settings::from_str(text).map_err(|error| error.to_string())?;
        let promoted =
            config["otlp"]["promote_resource_attributes"].as_array().ok_or("nothing is promoted")?;
        Ok(promoted.iter().map(|name| name.as_str().unwrap().replace('.', "_")).collect())
    }
}

/// The agent with `agent.yaml`, told by variables and arguments what is not in there.
pub(crate) fn agent(namespace: &Namespace, arguments: &[&str], variables: &[(&str, &str)]) -> Agent {
    agent_with(namespace, &repository("tests/e2e/agent.yaml"), arguments, variables)
}

/// The agent with another configuration file.
pub(crate) fn agent_with(
    namespace: &Namespace,
    config: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Agent {
    let mut command = crate::support::command(&["run", "--config", config.to_str().unwrap()]);
    command.args(arguments).args(["--jitter", "0s"]);
    command.envs(variables.iter().copied());
    namespace.inside(move || Agent::start(command))
}

/// Ends the agent and reads what is left of its log; its lines as `LEVEL message`.
pub(crate) fn end(mut agent: Agent) -> Vec<String> {
    agent.signal(rustix::process::Signal::TERM);
    let (status, took) = agent.wait();
    assert!(status.success(), "{status} after {took:?}: {:#?}", agent.log.all());
    agent
        .log
        .all()
        .iter()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            format!("{} {}", line["level"].as_str().unwrap(), line["message"].as_str().unwrap_or_default())
        })
        .collect()
}
