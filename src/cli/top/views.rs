//! What `connscope top` shows: one table per view, and where each column comes from (pure).
//!
//! Names of metrics are those of the table, whatever the naming of the endpoint; labels are Prometheus labels.

use super::columns::{CONTAINERS, DESTINATIONS, FLOWS, GROUPS, LOGS, Labels, PROBES};
use super::exposition::{Behaviour, Family};

/// A view, which is also a value of `--view`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum View {
    /// State of every source.
    Sources,
    /// The connection tracking table.
    Table,
    /// Every counter, by its rate.
    Rates,
    /// Groups of sockets, the worst first.
    Groups,
    /// Individual connections, where the configuration asks for them.
    Flows,
    /// Probes of targets, those that are down first.
    Probes,
    /// Containers and services.
    Containers,
    /// Destinations of containers and services.
    Destinations,
    /// Logs of containers and services.
    Logs,
    /// Every metric.
    All,
}

impl View {
    /// All views, in the order of the keys 1 to 9 and 0.
    pub(super) const ALL: [Self; 10] = [
        Self::Sources,
        Self::Table,
        Self::Rates,
        Self::Groups,
        Self::Flows,
        Self::Probes,
        Self::Containers,
        Self::Destinations,
        Self::Logs,
        Self::All,
    ];

    /// Its position in [`View::ALL`].
    pub(super) fn index(self) -> usize {
        Self::ALL.iter().position(|view| *view == self).unwrap_or_default()
    }

    /// Its name, in lower case.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Table => "table",
            Self::Rates => "rates",
            Self::Groups => "groups",
            Self::Flows => "flows",
            Self::Probes => "probes",
            Self::Containers => "containers",
            Self::Destinations => "destinations",
            Self::Logs => "logs",
            Self::All => "all",
        }
    }

    /// What is said where it has no rows.
    pub(super) fn nothing(self) -> &'static str {
        match self {
            Self::Sources => "no source is enabled",
            Self::Table => "no connection tracking statistics: is the source conntrack enabled?",
            Self::Rates => "no counters",
            Self::Groups => "no groups of sockets: is the source sockets enabled?",
            Self::Flows => "no individual connections: set sources.sockets.top, or flows",
            Self::Probes => "no probes: set sources.probes",
            Self::Containers => "no containers: is the source containers enabled?",
            Self::Destinations => "no destinations of containers: is the source containers enabled?",
            Self::Logs => "no logs: is the source logs enabled?",
            Self::All => "no metrics",
        }
    }

    /// Where its rows come from.
    pub(super) fn rows(self) -> Rows {
        match self {
            Self::Sources => Rows::Sources,
            Self::Table => Rows::Metrics(|name, _| name.starts_with("conntrack."), "conntrack."),
            Self::Rates => Rows::Metrics(is_counted, ""),
            Self::All => Rows::Metrics(|_, _| true, ""),
            Self::Groups => Rows::Labels(&GROUPS),
            Self::Flows => Rows::Labels(&FLOWS),
            Self::Probes => Rows::Labels(&PROBES),
            Self::Containers => Rows::Labels(&CONTAINERS),
            Self::Destinations => Rows::Labels(&DESTINATIONS),
            Self::Logs => Rows::Labels(&LOGS),
        }
    }

    /// Column that it is sorted by at first (0 is the name), and whether the largest comes first.
    pub(super) fn order(self) -> (usize, bool) {
        match self {
            Self::Rates => (1, true),
            Self::Sources | Self::Table | Self::All => (0, false),
            Self::Groups => (GROUPS.order, true),
            Self::Flows => (FLOWS.order, true),
            Self::Probes => (PROBES.order, false),
            Self::Containers => (CONTAINERS.order, true),
            Self::Destinations => (DESTINATIONS.order, true),
            Self::Logs => (LOGS.order, true),
        }
    }
}

/// What is about the agent itself is no rate of this machine's connections.
fn is_counted(name: &str, family: &Family) -> bool {
    let own = ["connscope.", "otel.", "process."].iter().any(|own| name.starts_with(own));
    family.behaviour == Behaviour::Counter && !own
}

/// Where the rows of a view come from.
#[derive(Clone, Copy)]
pub(super) enum Rows {
    /// The sources.
    Sources,
    /// The series of these families, with what their names begin with and is not shown.
    Metrics(fn(&str, &Family) -> bool, &'static str),
    /// What has the same labels in several metrics.
    Labels(&'static Labels),
}
