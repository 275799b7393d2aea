//! The most important numbers of a reading, on one line (pure).

use super::exposition::Series;
use super::history::Frame;
use super::shown::Unit;

/// A part of the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fact {
    /// The words and numbers that are shown.
    pub(super) text: String,
    /// Whether it stands out.
    pub(super) alarm: bool,
}

/// The table against its limit, what it dropped, retransmitted segments, probes.
pub(super) fn facts(frame: &Frame) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |text: String, alarm: bool| facts.push(Fact { text, alarm });
    let down = frame.sources.iter().filter(|source| matches!(source.state.as_str(), "down" | "up in part"));
    match down.map(|source| source.source.as_str()).collect::<Vec<_>>() {
        failing if failing.is_empty() => {}
        failing => fact(format!("FAILING {}", failing.join(", ")), true),
    }
    if let Some(usage) = sum(frame, "conntrack.table.usage", |series| Some(series.value)) {
        let limit =
            sum(frame, "conntrack.table.limit", |series| Some(series.value)).filter(|limit| *limit > 0.0);
        match limit {
            Some(limit) => {
                let (used, of) = (Unit::Count.show(usage), Unit::Count.show(limit));
                // Of several network namespaces that of the fullest one.
                let fullest = largest(frame, "conntrack.table.utilization");
                let share = fullest.unwrap_or(usage / limit);
                fact(format!("table {used} of {of} ({})", Unit::Ratio.show(share)), share > 0.8);
            }
            None => fact(format!("table {}", Unit::Count.show(usage)), false),
        }
    }
    for name in ["drop", "insert_failed", "early_drop"] {
        if let Some(rate) = sum(frame, &format!("conntrack.{name}"), |series| series.rate) {
            fact(format!("{name} {}/s", Unit::Count.show(rate)), rate > 0.0);
        }
    }
    let sent = sum(frame, "tcp.segments", |series| {
        series.slow_rate.filter(|_| series.label("network_io_direction") == "transmit")
    });
    let again = sum(frame, "tcp.retransmits", |series| series.slow_rate);
    if let Some((again, sent)) = again.zip(sent).filter(|(_, sent)| *sent > 0.0) {
        fact(format!("retransmitted {}", Unit::Ratio.show(again / sent)), again / sent > 0.02);
    }
    let probes = ["probe.up", "probe.connection_status"]
        .into_iter()
        .find_map(|name| frame.exposition.families.get(name));
    if let Some(probes) = probes {
        let down = probes.series.iter().filter(|series| series.value < 1.0).count();
        fact(format!("probes {} up, {down} down", probes.series.len() - down), down > 0);
    }
    facts
}

fn largest(frame: &Frame, metric: &str) -> Option<f64> {
    frame.exposition.families.get(metric)?.series.iter().map(|series| series.value).max_by(f64::total_cmp)
}

fn sum(frame: &Frame, metric: &str, value: impl Fn(&Series) -> Option<f64>) -> Option<f64> {
    let series = &frame.exposition.families.get(metric)?.series;
    series.iter().filter_map(value).reduce(|sum, more| sum + more)
}
