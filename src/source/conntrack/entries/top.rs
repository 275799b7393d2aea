//! The sources, destinations, ports and pairs with the most entries (pure).

use super::config::TopBy;
use super::message::Entry;
use super::sketch::Sketch;
use std::net::IpAddr;

/// What entries are ranked by: those of its parts that [`TopBy`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ranked {
    /// Source of the first packet.
    pub source: Option<IpAddr>,
    /// Destination of the first packet, before translation.
    pub destination: Option<IpAddr>,
    /// Protocol and destination port of the first packet.
    pub port: Option<(u8, u16)>,
}

impl Ranked {
    /// The parts of an entry; `None` if it has none.
    fn of(entry: &Entry, by: TopBy) -> Option<Self> {
        let tuple = entry.original;
        let ranked = match by {
            TopBy::Source => Self { source: tuple.source, ..Self::default() },
            TopBy::Destination => Self { destination: tuple.destination, ..Self::default() },
            TopBy::Pair => Self { source: tuple.source, destination: tuple.destination, ..Self::default() },
            TopBy::Port if tuple.destination_port == 0 => return None,
            TopBy::Port => Self { port: Some((tuple.protocol, tuple.destination_port)), ..Self::default() },
        };
        Some(ranked)
    }
}

/// The ranking of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    /// What is ranked.
    pub by: TopBy,
    /// Entries of each, the most first; never too many.
    pub counts: Vec<(Ranked, u64)>,
    /// By how many entries a number may be too low.
    pub error: u64,
}

/// The rankings of one dump.
#[derive(Debug, Clone)]
pub struct Top(Vec<(TopBy, Sketch<Ranked>)>);

impl Top {
    /// Empty rankings of these kinds.
    pub fn new(by: &[TopBy]) -> Self {
        Self(by.iter().map(|by| (*by, Sketch::default())).collect())
    }

    /// Counts an entry.
    pub fn add(&mut self, entry: &Entry) {
        for (by, sketch) in &mut self.0 {
            if let Some(ranked) = Ranked::of(entry, *by) {
                sketch.add(ranked, 1);
            }
        }
    }

    /// The first `most` of each kind.
    pub fn rankings(&self, most: usize) -> Vec<Ranking> {
        let ranking = |(by, sketch): &(TopBy, Sketch<Ranked>)| {
            let counts = sketch.counts().into_iter().take(most);
            let counts = counts.map(|(ranked, count)| (ranked, count.weight)).collect();
            Ranking { by: *by, counts, error: sketch.error() }
        };
        self.0.iter().map(ranking).collect()
    }
}
