//! The contract of the sources. The list of them is in [`catalog`](crate::catalog).
//!
//! A source depends on the kernel and the metric table, not on OpenTelemetry, readers or HTTP. In addition to
//! readings it may have reports ([`report`]): text or facts, however they are sent. Each has a thread of its own ([`worker`]), so that one
//! that blocks does not delay the others.

use crate::host::Host;
use crate::metric::naming::Profile;
use crate::metric::{Bounds, Part};
use crate::reading::{Readings, SourceError, chain};
use crate::stop::Stop;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

pub mod conntrack;
pub mod containers;
pub mod list;
pub mod logs;
pub mod metrics;
pub mod netns;
pub mod network;
pub mod node;
pub mod probes;
pub mod report;
pub mod sockets;
pub mod timeouts;
pub mod worker;

pub use report::Reports;

/// Something that can be read for metrics.
pub trait Source: Send {
    /// Reads, and observes the values. May block: each source has its own thread, and a deadline.
    ///
    /// Values observed before an error are correct and are kept: an error means that something is missing, not that
    /// something is wrong.
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError>;

    /// Its reports, if it has any; called once, before the first reading.
    fn reports(&self) -> Option<Arc<dyn Reports>> {
        None
    }
}

/// How the agent runs. An argument, not a key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `connscope run`: the sources are read repeatedly.
    Run,
    /// `connscope once`: the sources are read once, and waited for.
    Once,
}

/// Settings that exclude each other, or that name something which the machine does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The key, with the keys it is under.
    pub key: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
    /// Line and column of the value, from 1, if one value of a file is wrong.
    pub position: Option<(u64, u64)>,
}

/// What a part of a source needs of the machine, or of the unit that starts the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// What it is needed for: keys of the configuration, or what they give.
    pub purpose: &'static str,
    /// Capabilities, as `capabilities(7)` names them.
    pub capabilities: &'static [&'static str],
    /// Families of the sockets that are opened, as `RestrictAddressFamilies=` names them.
    pub address_families: &'static [&'static str],
    /// Files that are read.
    pub files: &'static [&'static str],
    /// The oldest kernel that has it; empty: any that is supported.
    pub kernel: &'static str,
}

impl Requirement {
    /// A requirement with a purpose, which needs nothing yet.
    pub const fn of(purpose: &'static str) -> Self {
        Self { purpose, capabilities: &[], address_families: &[], files: &[], kernel: "" }
    }
}

/// A flag of the command line that sets a key of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// With its dashes: `--conntrack-source`.
    pub name: &'static str,
    /// Name of its value in `--help`: `WAY`.
    pub value: &'static str,
    /// Description in `--help`, with the default.
    pub help: &'static str,
    /// The allowed words, each with its meaning; empty: any text.
    pub words: &'static [(&'static str, &'static str)],
}

/// Description of a source, with settings of its own type; [`SourceSpec::of`] erases that type.
pub trait SourceKind {
    /// Its section of the configuration.
    type Settings;
    /// Key in the configuration, label value, field in the log.
    const NAME: &'static str;
    /// The source's rows of the metric table.
    const PART: &'static Part;
    /// Capabilities, address families, files and kernel release that each part of the source needs.
    const REQUIREMENTS: &'static [Requirement];
    /// Its flags on the command line.
    const FLAGS: &'static [Flag] = &[];

    /// Whether these settings enable the source.
    fn enabled(settings: &Self::Settings) -> bool;
    /// How long a cycle waits for it.
    fn deadline(settings: &Self::Settings, mode: Mode) -> Duration;
    /// Bounds of its label sets with these settings.
    fn bounds(settings: &Self::Settings, host: &Host) -> Bounds;
    /// Creates the source. Everything that it starts must end with [`Stop`].
    fn build(
        settings: &Self::Settings,
        host: &Host,
        mode: Mode,
        stop: &Stop,
    ) -> Result<Box<dyn Source>, SourceError>;
    /// Tries each method to read it, for `connscope check`.
    fn check(settings: &Self::Settings, host: &Host, stop: &Stop) -> Vec<Check>;

    /// Whether the results of the check are sufficient for these settings.
    fn suffices(_settings: &Self::Settings, checks: &[Check]) -> bool {
        checks.iter().all(Check::works)
    }

    /// What is wrong with the settings as a whole, if each value is valid.
    fn conflict(_settings: &Self::Settings) -> Option<Conflict> {
        None
    }

    /// Reads the files that the settings name and without which the source does not start. The error names the file.
    fn files(_settings: &Self::Settings) -> Result<(), String> {
        Ok(())
    }

    /// Sets the key that a flag is for, by the flag's name with the dashes. The error says what is wrong with the value.
    fn set_flag(_settings: &mut Self::Settings, name: &str, _value: &str) -> Result<(), String> {
        Err(format!("the source {} has no flag {name}", Self::NAME))
    }

    /// Replaces values that are often secret by a fixed text.
    fn hide(_settings: &mut Self::Settings) {}

    /// Settings that have no effect with this naming: for each a sentence that says what to do.
    fn without_effect(_settings: &Self::Settings, _naming: Profile) -> Vec<String> {
        Vec::new()
    }
}

/// A source, or why it could not be created.
pub type BuildResult = Result<Box<dyn Source>, SourceError>;

/// A source as the agent uses it. `All` are the settings of all sources, which only the
/// [catalog](crate::catalog) names.
pub struct SourceSpec<All> {
    /// [`SourceKind::NAME`]
    pub name: &'static str,
    /// [`SourceKind::PART`]
    pub part: &'static Part,
    /// [`SourceKind::REQUIREMENTS`]
    pub requirements: &'static [Requirement],
    /// [`SourceKind::FLAGS`]
    pub flags: &'static [Flag],
    /// [`SourceKind::enabled`]
    pub enabled: fn(&All) -> bool,
    /// [`SourceKind::deadline`]
    pub deadline: fn(&All, Mode) -> Duration,
    /// [`SourceKind::bounds`]
    pub bounds: fn(&All, &Host) -> Bounds,
    /// [`SourceKind::build`]
    pub build: fn(&All, &Host, Mode, &Stop) -> BuildResult,
    /// [`SourceKind::check`]
    pub check: fn(&All, &Host, &Stop) -> Vec<Check>,
    /// [`SourceKind::suffices`]
    pub suffices: fn(&All, &[Check]) -> bool,
    /// [`SourceKind::conflict`]
    pub conflict: fn(&All) -> Option<Conflict>,
    /// [`SourceKind::files`]
    pub files: fn(&All) -> Result<(), String>,
    /// [`SourceKind::set_flag`]
    pub set_flag: fn(&mut All, &str, &str) -> Result<(), String>,
    /// [`SourceKind::hide`]
    pub hide: fn(&mut All),
    /// [`SourceKind::without_effect`]
    pub without_effect: fn(&All, Profile) -> Vec<String>,
    /// Whether the source has the same settings in both.
    pub same: fn(&All, &All) -> bool,
}

impl<All> SourceSpec<All> {
    /// The functions of a [`SourceKind`], applied to the settings of all sources.
    pub const fn of<Kind: SourceKind>() -> Self
    where
        All: AsRef<Kind::Settings> + AsMut<Kind::Settings>,
        Kind::Settings: Serialize,
    {
        Self {
            name: Kind::NAME,
            part: Kind::PART,
            requirements: Kind::REQUIREMENTS,
            flags: Kind::FLAGS,
            enabled: |all| Kind::enabled(all.as_ref()),
            deadline: |all, mode| Kind::deadline(all.as_ref(), mode),
            bounds: |all, host| Kind::bounds(all.as_ref(), host),
            build: |all, host, mode, stop| Kind::build(all.as_ref(), host, mode, stop),
            check: |all, host, stop| Kind::check(all.as_ref(), host, stop),
            suffices: |all, checks| Kind::suffices(all.as_ref(), checks),
            conflict: |all| Kind::conflict(all.as_ref()),
            files: |all| Kind::files(all.as_ref()),
            set_flag: |all, name, value| Kind::set_flag(all.as_mut(), name, value),
            hide: |all| Kind::hide(all.as_mut()),
            without_effect: |all, naming| Kind::without_effect(all.as_ref(), naming),
            same: |left, right| same(left.as_ref(), right.as_ref()),
        }
    }
}

/// Whether two sections of the configuration are the same when printed.
pub fn same<T: Serialize>(left: &T, right: &T) -> bool {
    let printed = |section: &T| serde_json::to_value(section).ok();
    printed(left).is_some_and(|left| printed(right) == Some(left))
}

/// Result of `connscope check` for one method to read a source.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Name of the source.
    pub source: &'static str,
    /// Method by which the part was read: `netlink`, `procfs`, a program.
    pub via: &'static str,
    /// `works`, or the reason why it does not.
    pub status: &'static str,
    /// The missing capability, if that is the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<&'static str>,
    /// What was found, or the error, as a sentence.
    pub detail: String,
}

impl Check {
    /// The check of one method, from the result of reading by it.
    pub fn new(source: &'static str, via: &'static str, result: Result<String, SourceError>) -> Self {
        match result {
            Ok(detail) => Self { source, via, status: "works", capability: None, detail },
            Err(error) => Self {
                source,
                via,
                status: error.reason().word(),
                capability: error.capability(),
                detail: chain(&error),
            },
        }
    }

    /// Whether this method works.
    pub fn works(&self) -> bool {
        self.status == "works"
    }
}

/// The sentence for a source whose `classic` metrics are enabled but not reported with this naming.
fn classic_without_effect(source: &str, enabled: bool, naming: Profile) -> Vec<String> {
    let unseen = enabled && naming != Profile::Classic;
    let sentence =
        || format!("sources.{source}.classic has no effect: set export.prometheus.naming to classic");
    unseen.then(sentence).into_iter().collect()
}
