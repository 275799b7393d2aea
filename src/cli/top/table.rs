//! A view of a reading as a table of texts: rows, their order and the filter (pure).

use super::columns::{Alarm, Column, Labels, Naming, Pick, Show};
use super::exposition::{Behaviour, Buckets, Family, Series};
use super::history::{self, Frame};
use super::shown::Unit;
use super::views::{Rows, View};
use crate::metric::buckets::quantile;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, UNIX_EPOCH};

#[cfg(test)]
mod tests;

/// A table.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Titles; the first is that of the names.
    pub(super) titles: Vec<&'static str>,
    /// The rows that the filter lets pass, in order.
    pub(super) rows: Vec<Row>,
    /// Whether the last column is a text of any length.
    pub(super) notes: bool,
}

/// A row.
#[derive(Debug)]
pub(super) struct Row {
    /// What it is about.
    pub(super) name: String,
    /// One cell for each title but the first.
    pub(super) cells: Vec<Cell>,
}

/// A cell.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// What is shown; empty without a value.
    pub(super) text: String,
    /// The number behind it.
    pub(super) value: Option<f64>,
    /// Whether it stands out.
    pub(super) alarm: bool,
}

impl Cell {
    fn number(value: Option<f64>, unit: Unit, alarm: Alarm) -> Self {
        match value {
            None => Self::default(),
            Some(value) => Self { text: unit.show(value), value: Some(value), alarm: alarm.on(value) },
        }
    }

    fn text(text: String, alarm: bool) -> Self {
        Self { text, value: None, alarm }
    }
}

/// The order of the rows: a column (0 is the name), and whether the largest comes first.
pub(super) type Order = (usize, bool);

/// The table of a view. `filter` is in lower case; a row passes if its name or a cell contains it.
pub(super) fn table(frame: &Frame, view: View, order: Order, filter: &str) -> Table {
    let mut table = match view.rows() {
        Rows::Sources => sources(frame),
        Rows::Metrics(takes, prefix) => metrics(frame, takes, prefix),
        Rows::Labels(labels) => labelled(frame, labels),
    };
    if !filter.is_empty() {
        let passes = |text: &str| text.to_lowercase().contains(filter);
        table.rows.retain(|row| passes(&row.name) || row.cells.iter().any(|cell| passes(&cell.text)));
    }
    table.rows.sort_by(|left, right| ordered(left, right, order));
    table
}

/// Rows without a value come last, whichever way the others are sorted; equal ones in the order of their names.
fn ordered(left: &Row, right: &Row, (column, largest_first): Order) -> Ordering {
    let turned = |order: Ordering| if largest_first { order.reverse() } else { order };
    let Some(cell) = column.checked_sub(1) else { return turned(left.name.cmp(&right.name)) };
    let by_name = || left.name.cmp(&right.name);
    let (Some(left), Some(right)) = (left.cells.get(cell), right.cells.get(cell)) else { return by_name() };
    let by_column = match (left.value, right.value) {
        (Some(left), Some(right)) => turned(left.total_cmp(&right)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => match (left.text.is_empty(), right.text.is_empty()) {
            (false, false) => turned(left.text.cmp(&right.text)),
            (left, right) => left.cmp(&right),
        },
    };
    by_column.then_with(by_name)
}

fn sources(frame: &Frame) -> Table {
    let series_of = |metric: &str, source: &str| {
        let family = frame.exposition.families.get(metric)?;
        let values = family.series.iter().filter(|series| series.label("source") == source);
        values.map(|series| series.value).reduce(|sum, more| sum + more)
    };
    let rows = frame.sources.iter().map(|source| {
        let failing = source.is_failing();
        let took = series_of("connscope.source.duration", &source.source);
        let errors = series_of("connscope.source.errors", &source.source);
        #[expect(clippy::cast_precision_loss, reason = "it is shown to people")]
        let series = source.series as f64;
        Row {
            name: source.source.clone(),
            cells: vec![
                Cell::text(source.state.clone(), failing),
                Cell::number(source.last_success_seconds.map(f64::round), Unit::Seconds, Alarm::Never),
                Cell::number(took, Unit::Seconds, Alarm::Never),
                Cell::number(Some(series), Unit::Count, Alarm::Never),
                Cell::number(errors, Unit::Count, Alarm::Never),
                Cell::text(source.warnings.join("; "), failing),
            ],
        }
    });
    let titles = vec!["SOURCE", "STATE", "AGO", "TOOK", "SERIES", "ERRORS", "WHY"];
    Table { titles, rows: rows.collect(), notes: true }
}

/// A row for each series of the families, those of all CPUs added.
fn metrics(frame: &Frame, takes: fn(&str, &Family) -> bool, prefix: &str) -> Table {
    let mut rows = Vec::new();
    for (name, family) in frame.exposition.families.iter().filter(|(name, family)| takes(name, family)) {
        let unit = Unit::of(name, family.unit);
        // Events of seconds are a share of the time, of which nobody says how many seconds there are in one.
        let rate_unit = if unit == Unit::Seconds { Unit::Ratio } else { unit };
        let short = name.strip_prefix(prefix).unwrap_or(name);
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        for series in &family.series {
            let labels = written(&series.labels, &["cpu"]);
            let row = if labels.is_empty() { short.to_owned() } else { format!("{short} {labels}") };
            sums.entry(row).or_default().add(series);
        }
        rows.extend(sums.into_iter().map(|(name, sum)| {
            let rates = family.behaviour != Behaviour::Level;
            let of = |value: Option<f64>| value.filter(|_| rates);
            let (rate_unit, value) = if family.behaviour == Behaviour::Distribution {
                (Unit::Count, Cell::number(Some(sum.value), Unit::Count, Alarm::Never))
            } else {
                (rate_unit, Cell::number(Some(scale(sum.value, family.unit)), unit, Alarm::Never))
            };
            let of_distribution = |fraction| {
                let value = sum.quantile(fraction).map(|value| scale(value, family.unit));
                Cell::number(value, unit, Alarm::Never)
            };
            let cells = vec![
                Cell::number(of(sum.rate), rate_unit, Alarm::Never),
                Cell::number(of(sum.slow_rate), rate_unit, Alarm::Never),
                value,
                of_distribution(0.5),
                of_distribution(0.95),
            ];
            Row { name, cells }
        }));
    }
    Table { titles: vec!["METRIC", "PER SECOND", "OVER 10s", "VALUE", "p50", "p95"], rows, notes: false }
}

/// The only unit of the table that is shown in another.
fn scale(value: f64, unit: &str) -> f64 {
    if unit == "ms" { value / 1000.0 } else { value }
}

/// Sums over series; `None` where no series has a value.
#[derive(Debug, Default)]
struct Sum {
    value: f64,
    rate: Option<f64>,
    slow_rate: Option<f64>,
    buckets: Buckets,
    recent: Buckets,
}

fn plus(sum: Option<f64>, more: Option<f64>) -> Option<f64> {
    match (sum, more) {
        (Some(sum), Some(more)) => Some(sum + more),
        (one, other) => one.or(other),
    }
}

impl Sum {
    fn add(&mut self, series: &Series) {
        self.value += series.value;
        self.rate = plus(self.rate, series.rate);
        self.slow_rate = plus(self.slow_rate, series.slow_rate);
        history::add(&mut self.buckets, &series.buckets);
        history::add(&mut self.recent, &series.recent);
    }

    fn quantile(&self, fraction: f64) -> Option<f64> {
        quantile(&self.recent, fraction).or_else(|| quantile(&self.buckets, fraction))
    }
}

/// What a cell is made of, while series are added.
#[derive(Debug, Default)]
struct Collected {
    sum: Option<Sum>,
    whole: Option<f64>,
    word: Option<(u64, String)>,
}

type Key<'a> = Vec<&'a (String, String)>;

fn labelled(frame: &Frame, labels: &Labels) -> Table {
    let mut rows: HashMap<Key<'_>, Vec<Collected>> = HashMap::new();
    for (place, column) in labels.columns.iter().enumerate() {
        let whole: &[Pick] = if let Show::Share(whole) = column.show { whole } else { &[] };
        let picks = column.of.iter().map(|pick| (pick, false)).chain(whole.iter().map(|pick| (pick, true)));
        for (pick, is_whole) in picks {
            let Some(family) = frame.exposition.families.get(pick.metric) else { continue };
            let picked = |series: &&Series| {
                pick.only.is_none_or(|(label, values)| values.contains(&series.label(label)))
            };
            for series in family.series.iter().filter(picked) {
                let key = series.labels.iter().filter(|(name, _)| !labels.without.contains(&name.as_str()));
                let row = rows
                    .entry(key.collect())
                    .or_insert_with(|| labels.columns.iter().map(|_| Collected::default()).collect());
                if let Some(collected) = row.get_mut(place) {
                    collected.take(series, family, &column.show, is_whole);
                }
            }
        }
    }
    let clock = frame.clock.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64();
    let rows = rows.into_iter().map(|(key, collected)| {
        let cells = labels.columns.iter().zip(collected);
        let cells = cells.map(|(column, collected)| collected.cell(column, clock)).collect();
        Row { name: named(&key, labels.naming), cells }
    });
    let titles = std::iter::once(labels.title).chain(labels.columns.iter().map(|column| column.title));
    Table { titles: titles.collect(), rows: rows.collect(), notes: false }
}

impl Collected {
    fn take(&mut self, series: &Series, family: &Family, show: &Show, is_whole: bool) {
        if is_whole {
            self.whole = plus(self.whole, series.slow_rate);
            return;
        }
        if let Show::Word(label) = show {
            let newest = self.word.as_ref().is_none_or(|(increased, _)| series.increased > *increased);
            if newest && series.increased > 0 {
                self.word = Some((series.increased, series.label(label).to_owned()));
            }
            return;
        }
        let sum = self.sum.get_or_insert_default();
        sum.add(series);
        if family.unit == "ms" {
            sum.value = scale(sum.value, family.unit);
        }
    }

    fn cell(self, column: &Column, clock: f64) -> Cell {
        let Self { sum, whole, word } = self;
        let value = match column.show {
            Show::Word(_) => {
                let text = word.map(|(_, word)| word).unwrap_or_default();
                return Cell::text(text, false);
            }
            Show::Now => sum.map(|sum| sum.value),
            Show::Rate => sum.and_then(|sum| sum.rate),
            Show::Share(_) => {
                let part = sum.and_then(|sum| sum.slow_rate);
                part.zip(whole).filter(|(_, whole)| *whole > 0.0).map(|(part, whole)| part / whole)
            }
            Show::Quantile(fraction) => sum.and_then(|sum| sum.quantile(fraction)),
            Show::Age => sum.map(|sum| (clock - sum.value).max(0.0).round()),
        };
        Cell::number(value, column.unit, column.alarm)
    }
}

fn written(labels: &[(String, String)], without: &[&str]) -> String {
    let labels = labels.iter().filter(|(name, _)| !without.contains(&name.as_str()));
    labels.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// Labels as the name of a row. What the naming does not use follows as `label=value`.
fn named(key: &[&(String, String)], naming: Naming) -> String {
    let mut left: Vec<&(String, String)> = key.to_vec();
    let mut take = |label: &str| {
        let place = left.iter().position(|(name, value)| name == label && !value.is_empty())?;
        Some(left.remove(place).1.clone())
    };
    let mut name = match naming {
        Naming::Group => {
            let port = take("server_port").map(|port| format!(":{port}"));
            [take("direction"), port].into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        Naming::Flow => take("flow").unwrap_or_else(|| {
            let mut end = |address: &str, port: &str| address_and_port(take(address), take(port));
            let local = end("network_local_address", "network_local_port");
            format!("{local} → {}", end("network_peer_address", "network_peer_port"))
        }),
        Naming::Probe => {
            let name = take("probe_name").or_else(|| take("name"));
            let server = address_and_port(
                take("server_address").or_else(|| take("host")),
                take("server_port").or_else(|| take("port")),
            );
            let peer = take("network_peer_address").filter(|peer| !server.starts_with(peer.as_str()));
            take("network_type");
            [name, Some(server), peer].into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        Naming::Container => container(&mut take),
        Naming::Destination => {
            let container = container(&mut take);
            let server = address_and_port(take("server_address"), take("server_port"));
            let peer = address_and_port(
                take("network_peer_address").or_else(|| take("actual_destination")),
                take("network_peer_port"),
            );
            let server = if server.is_empty() { take("destination").unwrap_or_default() } else { server };
            let peer = if peer.is_empty() || peer == server { String::new() } else { format!(" ({peer})") };
            format!("{container} → {server}{peer}")
        }
    };
    for (label, value) in left {
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(label);
        name.push('=');
        name.push_str(value);
    }
    if name.is_empty() { "all".to_owned() } else { name }
}

fn container(take: &mut impl FnMut(&str) -> Option<String>) -> String {
    let kubernetes = ["k8s_namespace_name", "k8s_pod_name", "k8s_container_name"].map(&mut *take);
    let kubernetes: Vec<String> = kubernetes.into_iter().flatten().collect();
    let id = take("container_id");
    if !kubernetes.is_empty() {
        return kubernetes.join("/");
    }
    let name = take("container_name").or_else(|| take("systemd_unit")).or(id);
    name.or_else(|| take("log_file_path")).unwrap_or_else(|| "none".to_owned())
}

fn address_and_port(address: Option<String>, port: Option<String>) -> String {
    let address = address.unwrap_or_default();
    let address = if address.contains(':') && port.is_some() { format!("[{address}]") } else { address };
    port.map_or_else(|| address.clone(), |port| format!("{address}:{port}"))
}
