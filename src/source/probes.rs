//! The source `probes`: whether peers are reachable, how fast they answer, and why not.
//!
//! A thread of its own probes each target at the target's interval (`runner`, `schedule`). `read` copies the results
//! and never waits for the network. Each kind of probe has a file in `kind`; targets from files and DNS are in
//! `discovery`.

#![expect(
    clippy::disallowed_methods,
    reason = "the first read waits for results up to a deadline, and ages are computed at each read"
)]

use super::{Check, Mode, Requirement, Source, SourceKind};
use crate::host::Host;
use crate::metric::naming::Profile;
use crate::metric::{Bounds, Labels, Part};
use crate::reading::{Readings, SourceError};
use crate::source::probes::config::Probes as Settings;
use crate::source::probes::config::kind::Protocol;
use crate::stop::Stop;
use discovery::Files;
use entry::TargetEntry;
use registry::Registry;
use reports::ProbeReports;
use resolve::Resolver;
use runner::{Runner, RunnerContext};
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use target::Target;

pub mod attempt;
pub mod config;
pub mod connect;
pub mod datagram;
pub mod discovery;
pub mod entry;
pub mod fault;
pub mod kind;
pub mod labels;
pub mod metrics;
pub mod origin;
pub mod registry;
pub mod renewal;
pub mod reports;
pub mod resolve;
pub mod result;
pub mod runner;
pub mod schedule;
pub mod state;
pub mod target;
pub mod timeouts;

/// Name of the source: configuration key, label value and field in the log.
pub const NAME: &str = "probes";

impl SourceKind for Probes {
    type Settings = Settings;
    const NAME: &'static str = NAME;
    const PART: &'static Part = &metrics::PART;
    const REQUIREMENTS: &'static [Requirement] = &[
        Requirement {
            address_families: &["AF_INET", "AF_INET6", "AF_UNIX"],
            files: &["/etc/hosts", "/etc/resolv.conf"],
            ..Requirement::of("targets")
        },
        Requirement {
            capabilities: &["CAP_NET_RAW"],
            address_families: &["AF_INET", "AF_INET6"],
            files: &["/proc/sys/net/ipv4/ping_group_range"],
            ..Requirement::of("kind: icmp, unless net.ipv4.ping_group_range includes the group of the agent")
        },
        Requirement {
            capabilities: &["CAP_NET_RAW"],
            ..Requirement::of("interface of a target, before Linux 5.7")
        },
        super::netns::REQUIREMENT,
    ];

    fn enabled(settings: &Settings) -> bool {
        settings.has_targets()
    }

    fn deadline(settings: &Settings, mode: Mode) -> Duration {
        match mode {
            Mode::Once => longest(settings) + super::timeouts::GRACE,
            Mode::Run => timeouts::COPY,
        }
    }

    fn bounds(settings: &Settings, _: &Host) -> Bounds {
        let targets = settings.max_targets();
        vec![(&labels::TARGET, targets), (&labels::CLASSIC_TARGET, targets)]
    }

    fn build(settings: &Settings, _: &Host, mode: Mode, stop: &Stop) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(match mode {
            Mode::Run => Self::start(settings, stop)?,
            Mode::Once => Self::once(settings, stop)?,
        }))
    }

    fn files(settings: &Settings) -> Result<(), String> {
        targets(settings).map(drop).map_err(|error| crate::reading::chain(&error))
    }

    fn hide(settings: &mut Settings) {
        settings.hide();
    }

    fn without_effect(settings: &Settings, _: Profile) -> Vec<String> {
        let requests = &settings.on_request;
        let unused = !requests.networks.is_empty() && !requests.enabled;
        let sentence = || {
            "sources.probes.on_request.networks has no effect: set sources.probes.on_request.enabled to true"
                .to_owned()
        };
        unused.then(sentence).into_iter().collect()
    }

    fn check(settings: &Settings, _: &Host, _: &Stop) -> Vec<Check> {
        check(settings)
    }
}

/// Maximum duration of the first read: the lookup of a DNS name with targets, then the probe of the slowest target.
fn first_read_timeout(settings: &Settings, slowest: impl Iterator<Item = Duration>) -> Duration {
    settings.timeout + slowest.max().unwrap_or_default().max(settings.timeout) + super::timeouts::GRACE
}

/// Maximum duration of the first read, before the targets are known: a file may have a target with the longest
/// time-out.
fn longest(settings: &Settings) -> Duration {
    let own = settings.targets.iter().filter_map(|target| target.timeout);
    let names = settings.dns.iter().filter_map(|names| names.target.timeout);
    let files = settings.files.iter().map(|_| *crate::source::probes::config::TIMEOUT.end());
    first_read_timeout(settings, own.chain(names).chain(files))
}

/// The source: its scheduler runs on threads of its own, and a cycle copies their results.
pub struct Probes {
    common: Arc<RunnerContext>,
    runner: Runner,
    stop: Stop,
    waited: bool,
}

impl Probes {
    /// Creates the configured targets, and starts to probe.
    pub fn start(settings: &Settings, stop: &Stop) -> Result<Self, SourceError> {
        Self::begin(settings, Mode::Run, stop)
    }

    /// Creates the configured targets and probes each immediately; the first read waits for all of them (`connscope
    /// once`).
    pub fn once(settings: &Settings, stop: &Stop) -> Result<Self, SourceError> {
        Self::begin(settings, Mode::Once, stop)
    }

    fn begin(settings: &Settings, mode: Mode, stop: &Stop) -> Result<Self, SourceError> {
        let (mut common, targets) = ready(settings)?;
        common.mode = mode;
        let common = Arc::new(common);
        let runner = Runner::start(&common, stop)
            .map_err(|cause| SourceError::io("starting the thread of the probes", cause))?;
        runner.send(common.registry.set("", targets));
        discovery::start(&common, &runner);
        if mode == Mode::Run {
            runner.runtime.spawn(renewal::certificates(Arc::clone(&common)));
        }
        Ok(Self { common, runner, stop: stop.clone(), waited: mode == Mode::Run })
    }

    /// Waits until every target has been probed once, for `connscope once`.
    fn wait(&mut self) {
        let RunnerContext { settings, registry, .. } = &*self.common;
        let began = Instant::now();
        loop {
            let complete = registry.all_groups_read();
            let entries = registry.entries();
            let patience =
                first_read_timeout(settings, entries.iter().map(|entry| entry.target.route.timeout));
            let waiting = entries.iter().filter(|entry| entry.states().is_empty()).count();
            if complete && waiting == 0 {
                break;
            }
            if began.elapsed() >= patience {
                tracing::warn!(
                    waiting,
                    complete,
                    "some targets were not probed, or some target files and names not read, before the deadline"
                );
                break;
            }
            if self.stop.killed_within(crate::timeouts::GLANCE / 5) {
                break;
            }
        }
        self.waited = true;
    }
}

/// Creates the resolver, an empty registry and the configured targets.
fn ready(settings: &Settings) -> Result<(RunnerContext, Vec<Target>), SourceError> {
    let wrong = |why: String| SourceError::parse("making the targets of sources.probes ready", why);
    let targets = settings.targets.iter().map(|target| Target::new(target, settings));
    let targets = targets.collect::<Result<Vec<Target>, String>>().map_err(wrong)?;
    for names in &settings.dns {
        // The template is validated with a placeholder host and port.
        let service = resolve::message::RecordData::Service { host: "host.invalid".to_owned(), port: 1 };
        let example = discovery::dns::target(&names.target, names.record, "name", service);
        Target::new(&Arc::new(example), settings)
            .map_err(|why| wrong(format!("sources.probes.dns: {why}")))?;
    }
    let common = RunnerContext {
        settings: settings.clone(),
        mode: Mode::Run,
        resolver: Resolver::new(settings.nameservers.clone()),
        registry: Registry::new(settings.max_targets()),
    };
    Ok((common, targets))
}

impl Source for Probes {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        if !self.waited {
            self.wait();
        }
        let registry = &self.common.registry;
        let now = Instant::now();
        let entries = registry.entries();
        let mut classic: HashSet<&Labels> = HashSet::new();
        let mut local_fault = Vec::new();
        let mut panicked = Vec::new();
        for entry in &entries {
            let states = entry.states();
            for state in &*states {
                state.observe(now, out);
            }
            let up = TargetEntry::up(&states);
            local_fault.extend(states.iter().find_map(|state| state.local_fault.clone()));
            drop(states);
            if entry.panicked.load(Ordering::Relaxed) {
                panicked.push(&entry.target.settings.name);
            }
            if let Some(up) = up.filter(|_| classic.insert(&entry.target.classic)) {
                out.observe(metrics::PROBE_CONNECTION_STATUS, &entry.target.classic, u64::from(up));
            }
        }
        out.observe(metrics::CONNSCOPE_PROBES_TARGETS, &[], entries.len() as u64);
        out.observe(metrics::CONNSCOPE_PROBES_LEFT_OUT, &[], registry.left_out() as u64);
        out.observe(metrics::CONNSCOPE_PROBES_RUNNING, &[], registry.running.load(Ordering::Relaxed) as u64);
        out.observe(metrics::CONNSCOPE_PROBES_DELAY, &[], registry.delays());
        for (group, error) in registry.failures() {
            out.fail(group, error);
        }
        if let Some(name) = panicked.first() {
            let doing = format!("probing `{name}`; the state of {} targets is unchanged", panicked.len());
            out.fail("panics", SourceError::Panicked { message: registry::defect(&doing) });
        }
        let count = local_fault.len();
        if let Some(why) = local_fault.into_iter().next() {
            let doing = format!(
                "probing: the agent lacks a permission or resource; the state of {count} targets is unchanged"
            );
            out.fail("probes", SourceError::io(doing, why));
        }
        Ok(())
    }

    fn reports(&self) -> Option<Arc<dyn super::Reports>> {
        Some(Arc::new(ProbeReports::new(Arc::clone(&self.common), self.runner.runtime.clone())))
    }
}

/// Creates the configured targets and those of files, with their certificates; none is probed.
fn targets(settings: &Settings) -> Result<(RunnerContext, Files, usize), SourceError> {
    let (common, targets) = ready(settings)?;
    let count = targets.len();
    common.registry.set("", targets);
    let mut files = Files::default();
    files.refresh(&common);
    match common.registry.failures().into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok((common, files, count)),
    }
}

/// Checks whether the targets can be created; no target is probed.
fn check(settings: &Settings) -> Vec<Check> {
    let mut echoes = settings.dns.iter().any(|names| names.target.kind.protocol() == Protocol::Icmp);
    let targets = targets(settings).map(|(common, files, count)| {
        let entries = common.registry.entries();
        echoes |= entries.iter().any(|entry| entry.target.settings.kind.protocol() == Protocol::Icmp);
        let mut said = format!("{count} targets configured, {} including those of files", entries.len());
        for pattern in &files.missing {
            let _infallible = write!(said, ", no directory for {pattern}");
        }
        if common.registry.left_out() > 0 {
            let _infallible = write!(said, ", {} left out", common.registry.left_out());
        }
        said
    });
    let mut checks = vec![Check::new(NAME, "targets", targets)];
    if echoes {
        let socket = crate::host::icmp::permitted().map(|socket| format!("over {socket}"));
        checks.push(Check::new(NAME, "echoes", socket));
    }
    checks
}
