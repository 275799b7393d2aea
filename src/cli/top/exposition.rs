//! Prometheus' text format 0.0.4, as a running agent answers it, read back into the metrics of the table, in either naming (pure).
//!
//! The text comes from another process: the number of series is bounded, and texts of others are cleaned.

use crate::metric::naming::{self, Profile};
use crate::metric::{Kind, Metric, Part};
use crate::text;
use std::collections::{BTreeMap, HashMap};

#[cfg(test)]
mod tests;

/// Maximum number of series of one reading; a distribution counts as one.
pub(super) const MOST_SERIES: usize = 50_000;

/// Maximum number of labels of a series.
const MOST_LABELS: usize = 64;

/// Maximum number of buckets of a distribution.
const MOST_BUCKETS: usize = 256;

/// How the values of a metric behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// They only grow.
    Counter,
    /// They go up and down.
    Level,
    /// They are the buckets of a histogram.
    Distribution,
}

/// A metric with its series.
#[derive(Debug, Clone)]
pub(super) struct Family {
    /// UCUM unit as in the table; empty where it is unknown.
    pub(super) unit: &'static str,
    /// How its values behave.
    pub(super) behaviour: Behaviour,
    /// The series of the metric, in the order of the exposition.
    pub(super) series: Vec<Series>,
}

/// One series, with what has changed since earlier readings.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    /// Prometheus labels and their values, in the order of the text, without `le`.
    pub(super) labels: Vec<(String, String)>,
    /// The value; of a distribution the number of its values.
    pub(super) value: f64,
    /// The buckets, if it is a distribution.
    pub(super) buckets: Buckets,
    /// Increase per second since the reading before; `None` without one, or after a reset.
    pub(super) rate: Option<f64>,
    /// The same since a reading 10 to 20 s ago, or the first.
    pub(super) slow_rate: Option<f64>,
    /// What was added to the buckets since that reading.
    pub(super) recent: Buckets,
    /// The reading, counted from the first, in which the value last increased; 0 if in none.
    pub(super) increased: u64,
}

/// Upper bounds of buckets, in ascending order, each with the number of values up to it.
pub(super) type Buckets = Vec<(f64, f64)>;

impl Series {
    /// Value of a label; empty without it.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }
}

/// What one reading has.
#[derive(Debug, Clone, Default)]
pub(super) struct Exposition {
    /// By their name in the table; what the table does not have is under its Prometheus name.
    pub(super) families: BTreeMap<String, Family>,
    /// Number of series.
    pub(super) series: usize,
    /// Samples that exceeded a limit.
    pub(super) left_out: usize,
}

/// The metrics of the table by their Prometheus names in both namings. `tcp_cwnd` is a histogram in one and a gauge in the other.
#[derive(Debug)]
pub(super) struct Names(HashMap<String, Vec<&'static Metric>>);

fn behaviour(metric: &Metric) -> Behaviour {
    match metric.kind {
        Kind::Counter => Behaviour::Counter,
        Kind::UpDownCounter | Kind::Gauge => Behaviour::Level,
        Kind::Histogram | Kind::RecordedHistogram => Behaviour::Distribution,
    }
}

impl Names {
    /// Of these parts of the table.
    pub(super) fn of(parts: &[&'static Part]) -> Self {
        let mut of: HashMap<String, Vec<&'static Metric>> = HashMap::new();
        for row in parts.iter().flat_map(|part| part.rows) {
            let names = [Profile::Otel, Profile::Classic].map(|profile| naming::prometheus(row, profile));
            for name in names.into_iter().flatten() {
                of.entry(name).or_default().push(row);
            }
        }
        Self(of)
    }

    /// Name in the table, unit and behaviour of a family; what the text declares counts if the table does not have it.
    fn find<'a>(&self, name: &'a str, declared: Option<Behaviour>) -> (&'a str, &'static str, Behaviour) {
        let metrics = self.0.get(name).map(Vec::as_slice).unwrap_or_default();
        let as_declared = metrics.iter().find(|metric| declared == Some(behaviour(metric)));
        match as_declared.or(metrics.first()) {
            None => {
                let counts = if name.ends_with("_total") { Behaviour::Counter } else { Behaviour::Level };
                (name, "", declared.unwrap_or(counts))
            }
            Some(metric) => (metric.name, metric.unit, behaviour(metric)),
        }
    }
}

/// One line with a value.
#[derive(Debug)]
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(String, String)>,
    value: f64,
}

/// Reads a whole exposition. Lines that are none are skipped.
pub(super) fn parse(text: &str, names: &Names, most_series: usize) -> Exposition {
    let mut read = Exposition::default();
    let mut declared: Option<(&str, Behaviour)> = None;
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            declared = declaration(comment).or(declared);
            continue;
        }
        let Some(sample) = sample(line) else { continue };
        let (family, part) = match declared {
            Some((family, Behaviour::Distribution)) => match sample.name.strip_prefix(family) {
                Some(part @ ("_bucket" | "_sum" | "_count")) => (family, part),
                _ => (sample.name, ""),
            },
            _ => (sample.name, ""),
        };
        let behaviour = declared.filter(|(name, _)| *name == family).map(|(_, behaviour)| behaviour);
        read.take(names.find(family, behaviour), part, sample, most_series);
    }
    read.families.retain(|_, family| !family.series.is_empty());
    read
}

impl Exposition {
    fn take(
        &mut self,
        (name, unit, behaviour): (&str, &'static str, Behaviour),
        part: &str,
        mut sample: Sample<'_>,
        most_series: usize,
    ) {
        // The sum of a distribution is nowhere shown; what has no number says nothing.
        if part == "_sum" || sample.value.is_nan() {
            return;
        }
        let bound = match part {
            "_bucket" => {
                let Some(place) = sample.labels.iter().position(|(name, _)| name == "le") else { return };
                let Ok(bound) = sample.labels.remove(place).1.parse::<f64>() else { return };
                Some(bound)
            }
            _ => None,
        };
        if !self.families.contains_key(name) {
            self.families.insert(name.to_owned(), Family { unit, behaviour, series: Vec::new() });
        }
        let Some(family) = self.families.get_mut(name) else { return };
        let last = family.series.last_mut();
        let series = match last.filter(|last| !part.is_empty() && last.labels == sample.labels) {
            Some(series) => series,
            None if self.series >= most_series => {
                self.left_out += 1;
                return;
            }
            None => {
                self.series += 1;
                let labels = std::mem::take(&mut sample.labels);
                family.series.push(Series { labels, ..Series::default() });
                let Some(series) = family.series.last_mut() else { return };
                series
            }
        };
        match bound {
            None => series.value = sample.value,
            Some(bound) if series.buckets.len() < MOST_BUCKETS => series.buckets.push((bound, sample.value)),
            Some(_) => self.left_out += 1,
        }
    }
}

/// `# TYPE name kind`.
fn declaration(comment: &str) -> Option<(&str, Behaviour)> {
    let mut words = comment.trim_start().strip_prefix("TYPE ")?.split_ascii_whitespace();
    let name = words.next()?;
    let behaviour = match words.next()? {
        "counter" => Behaviour::Counter,
        "histogram" => Behaviour::Distribution,
        _ => Behaviour::Level,
    };
    Some((name, behaviour))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= text::LONGEST_NAME
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at_checked(end)?;
    if !is_name(name) {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    // A time may follow.
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { name, labels, value })
}

/// The labels after the opening brace, and what follows the closing one.
fn labels(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((found, after));
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        if !is_name(name) || found.len() == MOST_LABELS {
            return None;
        }
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        found.push((name.to_owned(), text::bounded_unique(&value, text::LONGEST_NAME)));
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
}

/// The text up to the closing quotation mark, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(match characters.next()? {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
}
