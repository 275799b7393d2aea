//! State of the agent: `/-/ready` for orchestrators, and `/-/status` as JSON for `connscope status` and the page at `/`.

use super::{HttpResponse, TEXT, Web, respond};
use crate::catalog::SOURCES;
use crate::cycle::Sources;
use crate::self_metrics::ConfigLoadStatus;
use crate::source::list::NO_SOURCE;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Body of `/-/status`, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// Whether `/-/ready` is 200.
    pub ready: bool,
    /// Whether the last reload, the web configuration or a renewed certificate was refused.
    #[serde(default)]
    pub config_refused: bool,
    /// Every enabled source.
    pub sources: Vec<SourceStatus>,
    /// Names of the sources that are not enabled.
    #[serde(default)]
    pub switched_off: Vec<String>,
    /// State of the push; `None` without a push.
    pub push: Option<PushStatus>,
    /// Warnings for the operator, each a sentence.
    pub warnings: Vec<String>,
}

/// State of a source after its last cycle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Name of the source.
    pub source: String,
    /// `up`, `up in part`, `absent`, `down`, or `not asked yet`.
    pub state: String,
    /// Seconds since the last cycle in which the source succeeded.
    pub last_success_seconds: Option<f64>,
    /// Number of series in the last cycle; a histogram counts as one.
    pub series: usize,
    /// Errors of the last cycle, and limits that were reached.
    pub warnings: Vec<String>,
}

impl SourceStatus {
    /// Whether the last cycle could not read the source completely. A source that a reload has started and no cycle has asked
    /// yet does not fail.
    pub fn is_failing(&self) -> bool {
        !matches!(self.state.as_str(), "up" | "absent" | "not asked yet")
    }
}

/// State of the push over OTLP.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushStatus {
    /// Seconds since the receiver last accepted a whole push.
    pub last_success_seconds: Option<f64>,
    /// Error of the last push; `None` if it succeeded.
    pub warning: Option<String>,
}

/// State of every enabled source after its last cycle.
pub fn source_statuses(sources: &Sources) -> Vec<SourceStatus> {
    let known = sources.health.sources();
    let set = sources.set();
    let statuses = set.names().map(|name| {
        let health = known.get(name);
        let warnings = health.into_iter().flat_map(|health| &health.failures);
        let warnings = warnings.map(|((part, reason), text)| {
            let reason = reason.word();
            if part.is_empty() { format!("{reason}: {text}") } else { format!("{part}: {reason}: {text}") }
        });
        let limits = health.into_iter().flat_map(|health| &health.limits);
        let limits = limits.map(|(metric, number)| format!("a limit was reached: {metric} is {number}"));
        let last = health.and_then(|health| health.last_success);
        SourceStatus {
            source: name.to_owned(),
            state: health.map_or("not asked yet", |health| health.state()).to_owned(),
            last_success_seconds: last.map(|at| at.elapsed().as_secs_f64()),
            series: health.map_or(0, |health| health.readings),
            warnings: warnings.chain(limits).collect(),
        }
    });
    statuses.collect()
}

impl Web {
    /// Whether any source succeeded recently.
    fn fresh(&self) -> bool {
        self.sources.health.last_success().is_some_and(|age| age <= self.current().stale_after)
    }

    /// Runs a cycle if the state is old and there is no push: then cycles come only from scrapes, and a scraper may not
    /// scrape an agent that is not ready. Returns whether the state is recent.
    async fn freshen(&self) -> bool {
        if !self.fresh() && !self.current().pushing {
            let _told_by_health = self.scrape(false).await;
        }
        self.fresh()
    }

    pub(super) async fn ready(&self) -> HttpResponse {
        if self.current().pull.is_none() {
            let why = "ready: OTEL_SDK_DISABLED is true, nothing is collected\n";
            return respond(StatusCode::OK, TEXT, why.to_owned());
        }
        if self.freshen().await {
            return respond(StatusCode::OK, TEXT, "ready\n".to_owned());
        }
        let mut why = match self.sources.health.last_success() {
            None if self.sources.set().names().next().is_none() => format!("not ready: {NO_SOURCE}\n"),
            None => "not ready: no cycle has succeeded yet\n".to_owned(),
            Some(age) => format!("not ready: the last successful cycle is {} s old\n", age.as_secs()),
        };
        for (source, health) in self.sources.health.sources() {
            for ((part, reason), text) in &health.failures {
                let part = if part.is_empty() { String::new() } else { format!(" {part}") };
                let _infallible = writeln!(why, "{source}{part}: {}: {text}", reason.word());
            }
        }
        respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, why)
    }

    pub(super) async fn status(&self) -> HttpResponse {
        let ready = self.current().pull.is_none() || self.freshen().await;
        let set = self.sources.set();
        let off = SOURCES.iter().filter(|spec| !set.names().any(|name| name == spec.name));
        let sources = source_statuses(&self.sources);
        let push = self.current().pushing.then(|| self.sources.health.push()).map(|push| PushStatus {
            last_success_seconds: push.last_success.map(|at| at.elapsed().as_secs_f64()),
            warning: push.failure,
        });
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready,
            config_refused: self.loads.is_refused()
                || self.loads.is_web_refused()
                || ConfigLoadStatus::refused_certificates() > 0,
            sources,
            switched_off: off.map(|spec| spec.name.to_owned()).collect(),
            push,
            warnings: self.warnings(),
        };
        // Serialization of strings, numbers and lists cannot fail.
        let text = serde_json::to_string(&status).unwrap_or_default();
        respond(StatusCode::OK, "application/json", text + "\n")
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.current().pull.is_none() {
            warnings.push("OTEL_SDK_DISABLED is true: nothing is collected".to_owned());
        }
        if self.loads.is_refused() {
            warnings.push(
                "the last reload was refused, and the configuration before it is in effect: the log says why"
                    .to_owned(),
            );
        }
        if self.loads.is_web_refused() {
            warnings.push(
                "the web configuration was refused at its latest reload, and the one before it is in effect: the log says why"
                    .to_owned(),
            );
        }
        match ConfigLoadStatus::refused_certificates() {
            0 => {}
            files => warnings.push(format!(
                "{files} sets of certificates have changed and cannot be used, and the previous ones stay in use: the log says why"
            )),
        }
        match self.sources.left_out() {
            0 => {}
            left_out => warnings.push(format!(
                "{left_out} readings were left out since the start, because their metric had reached its limit of series"
            )),
        }
        match crate::log::dropped() {
            0 => {}
            lines => warnings.push(format!(
                "{lines} lines of the log were dropped since the start, because stderr was blocked"
            )),
        }
        warnings
    }
}
