//! Turns what the last dumps found into readings.

#![expect(clippy::disallowed_methods, reason = "a class without entries is reported as 0 for a time")]

use super::config::{Entries as Settings, TopBy};
use super::dump::DumpResult;
use super::protocol;
use super::snat::{Usage, worst_of};
use super::tally::Class;
use super::worker::TableState;
use super::{metrics, netns};
use crate::metric::{Label, Labels};
use crate::reading::Readings;
use crate::source::conntrack::entries::message::Family;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A class of the entries of a namespace, by the file of the namespace.
type Key = ((u64, u64), Class);

/// Observes the entries, with those that were there before at 0.
#[derive(Debug)]
pub struct Observer {
    limit: usize,
    top: usize,
    by: Vec<TopBy>,
    /// By namespace and class: the labels, and when there was an entry last.
    kept: BTreeMap<Key, (Labels, Instant)>,
}

/// Time for which a class without entries is reported as 0.
const KEPT: Duration = Duration::from_mins(10);

impl Observer {
    /// Creates it with the limits of the settings.
    pub fn new(settings: &Settings) -> Self {
        let Settings { limit, top, top_by, .. } = settings;
        Self { limit: *limit, top: *top, by: top_by.clone(), kept: BTreeMap::new() }
    }

    /// Observes how the last dump of a namespace went.
    pub fn dump(&self, known: &TableState, out: &mut Readings) {
        let labels = netns(known.label.as_ref());
        out.observe(metrics::CONNSCOPE_CONNTRACK_DUMP_CPU_TIME, &labels, known.cpu_time.as_secs_f64());
        out.observe(metrics::CONNSCOPE_CONNTRACK_DUMP_ENDED_EARLY, &labels, known.ended_early);
        if let (Some(found), Some(at)) = (&known.found, known.at) {
            out.observe(metrics::CONNSCOPE_CONNTRACK_DUMP_AGE, &labels, at.elapsed().as_secs_f64());
            out.observe(metrics::CONNSCOPE_CONNTRACK_DUMP_DURATION, &labels, known.took.as_secs_f64());
            if let Some(share) = found.share {
                out.observe(metrics::CONNSCOPE_CONNTRACK_DUMP_SHARE, &labels, share);
            }
            for ranking in &found.rankings {
                let labels = labels.with(Label::Kind, ranking.by.word());
                out.observe(metrics::CONNTRACK_ENTRIES_TOP_ERROR, labels, ranking.error);
            }
            if let Some(error) = found.ports_error {
                out.observe(metrics::CONNTRACK_ENTRIES_TOP_ERROR, labels.with(Label::Kind, "snat"), error);
            }
        }
        for (place, values) in known.totals.0.iter().enumerate() {
            let labels = || labels.with(Label::Transport, protocol::name_at(place));
            if let Some(timeouts) = values.timeouts.distribution(known.since) {
                out.observe(metrics::CONNTRACK_ENTRIES_TIMEOUT, labels(), timeouts);
            }
            if let Some(ages) = values.ages.distribution(known.since) {
                out.observe(metrics::CONNTRACK_ENTRIES_AGE, labels(), ages);
            }
            for (direction, counters) in
                ["original", "reply"].into_iter().zip(values.counters.iter().flatten())
            {
                let labels = labels().with(Label::Direction, direction);
                out.observe(metrics::CONNTRACK_ENTRIES_PACKETS, &labels, counters.packets);
                out.observe(metrics::CONNTRACK_ENTRIES_IO, &labels, counters.bytes);
            }
        }
    }

    /// Observes the entries of all namespaces by class. Those with the fewest entries exceed the limit.
    pub fn entries(&mut self, known: &BTreeMap<(u64, u64), TableState>, out: &mut Readings) {
        let now = Instant::now();
        self.kept.retain(|(file, _), (_, seen)| now.duration_since(*seen) < KEPT && known.contains_key(file));
        let mut counts: Vec<(u64, Key)> = Vec::new();
        let mut others: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for (file, known) in known {
            let Some(found) = &known.found else { continue };
            counts.extend(found.tally.classes.iter().map(|(class, count)| (*count, (*file, *class))));
            if found.tally.other > 0 {
                *others.entry(*file).or_default() += found.tally.other;
            }
        }
        counts.sort_unstable_by(|left, right| right.cmp(left));
        for (count, (file, _)) in counts.drain(self.limit.min(counts.len())..) {
            *others.entry(file).or_default() += count;
        }
        let label_of = |file: &(u64, u64)| known.get(file).and_then(|known| known.label.as_ref());
        for (count, key) in &counts {
            let kept = self.kept.entry(*key).or_insert_with(|| (labels(label_of(&key.0), key.1), now));
            kept.1 = now;
            out.observe(metrics::CONNTRACK_ENTRIES, &kept.0, *count);
        }
        // What was there before is 0, as far as the limit allows.
        let whole = known.values().filter_map(|known| known.found.as_ref()).all(DumpResult::is_whole);
        let room = if whole { self.limit - counts.len() } else { 0 };
        let before = self.kept.values().filter(|(_, seen)| *seen < now).take(room);
        for (labels, _) in before {
            out.observe(metrics::CONNTRACK_ENTRIES, labels, 0);
        }
        for (file, count) in others {
            out.observe(metrics::CONNTRACK_ENTRIES, other(label_of(&file)), count);
        }
    }

    /// Observes the translated source addresses whose ports run out first, and what has the most entries, of all namespaces
    /// whose last dump read the whole table: those of a part would be too low.
    pub fn ranked<'known>(&self, known: &'known BTreeMap<(u64, u64), TableState>, out: &mut Readings) {
        let whole = |known: &'known TableState| known.found.as_ref().filter(|found| found.is_whole());
        let found = || known.values().filter_map(|known| Some((known.label.as_ref(), whole(known)?)));
        let ports = found().flat_map(|(label, found)| found.ports.iter().map(move |usage| (label, *usage)));
        for (label, usage) in worst_of(ports.collect(), self.top) {
            let Usage { destination, used, limit } = usage;
            let labels = netns(label).with_all([
                Some((Label::Transport, protocol::name(destination.protocol))),
                Some((Label::SourceAddress, destination.source.to_string().into())),
                Some((Label::DestinationAddress, destination.address.to_string().into())),
                (destination.port > 0).then(|| (Label::DestinationPort, destination.port.to_string().into())),
            ]);
            out.observe(metrics::CONNTRACK_SNAT_PORTS_USAGE, &labels, used);
            out.observe(metrics::CONNTRACK_SNAT_PORTS_LIMIT, &labels, limit);
        }
        for by in &self.by {
            let metric = match by {
                TopBy::Source => metrics::CONNTRACK_ENTRIES_TOP_SOURCES,
                TopBy::Destination => metrics::CONNTRACK_ENTRIES_TOP_DESTINATIONS,
                TopBy::Port => metrics::CONNTRACK_ENTRIES_TOP_PORTS,
                TopBy::Pair => metrics::CONNTRACK_ENTRIES_TOP_PAIRS,
            };
            let mut counts: Vec<_> = found()
                .flat_map(|(label, found)| found.rankings.iter().map(move |ranking| (label, ranking)))
                .filter(|(_, ranking)| ranking.by == *by)
                .flat_map(|(label, ranking)| {
                    ranking.counts.iter().map(move |(ranked, count)| (count, label, ranked))
                })
                .collect();
            counts.sort_unstable_by(|left, right| right.cmp(left));
            for (count, label, ranked) in counts.into_iter().take(self.top) {
                let address = |address: std::net::IpAddr| -> Arc<str> { address.to_string().into() };
                let labels = netns(label).with_all([
                    ranked.source.map(|source| (Label::SourceAddress, address(source))),
                    ranked.destination.map(|destination| (Label::DestinationAddress, address(destination))),
                    ranked.port.map(|(protocol, _)| (Label::Transport, protocol::name(protocol))),
                    ranked.port.map(|(_, port)| (Label::DestinationPort, port.to_string().into())),
                ]);
                out.observe(metric, &labels, *count);
            }
        }
    }
}

fn labels(label: Option<&Arc<str>>, class: Class) -> Labels {
    let family = match class.family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    };
    let state = class.state.and_then(|state| protocol::state(class.protocol, state));
    netns(label).with_all([
        Some((Label::Transport, protocol::name(class.protocol))),
        state.map(|state| (Label::ConnectionState, state)),
        Some((Label::EntryStatus, class.status.word().into())),
        Some((Label::Nat, class.nat.word().into())),
        Some((Label::Zone, class.zone.to_string().into())),
        Some((Label::NetworkType, family.into())),
    ])
}

/// The labels of entries that exceed the limit.
fn other(label: Option<&Arc<str>>) -> Labels {
    let other = |label| Some((label, protocol::OTHER.into()));
    netns(label).with_all([
        other(Label::Transport),
        other(Label::EntryStatus),
        other(Label::Nat),
        other(Label::Zone),
        other(Label::NetworkType),
    ])
}
