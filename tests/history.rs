//! The history of the last half hour: what is kept of which cycles, what it takes, and how it is asked for.

use crate::support::table::table;
use connscope::history::query::Query;
use connscope::history::{History, LIMIT};
use connscope::metric::distribution::Distribution;
use connscope::metric::{Label, Table};
use connscope::reading::{Readings, Snapshot};
use connscope::source::conntrack::metrics as conntrack;
use connscope::source::sockets::metrics as sockets;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

mod endpoint;
mod room;

/// Cycles made of functions, ten seconds apart.
struct Made {
    began: Instant,
    history: History,
    table: Arc<Table>,
    cycles: u32,
}

impl Made {
    fn new() -> Self {
        let began = Instant::now();
        Self { began, history: History::new(began, 7), table: table(4, 1), cycles: 0 }
    }

    fn now(&self) -> Instant {
        self.began + Duration::from_secs(10) * self.cycles
    }

    fn cycle(&mut self, observe: impl FnOnce(&mut Readings)) {
        self.cycles += 1;
        let mut readings = Readings::default();
        observe(&mut readings);
        let mut snapshot = Snapshot::empty(&self.table);
        for reading in readings.into_parts().0 {
            snapshot.take(reading);
        }
        self.history.record(&snapshot, self.now());
    }

    fn ask(&self, query: &str) -> Value {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let pairs: Vec<_> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let query = Query::parse(&pairs).unwrap();
        let text = self.history.answer(
            &query,
            None,
            self.now(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
        );
        serde_json::from_str(&text).unwrap()
    }
}

/// The values of the series with this name and number, `null` as -1.
fn values(answer: &Value, name: &str, stat: &str) -> Vec<f64> {
    let all = answer["series"].as_array().unwrap();
    let found = all.iter().find(|series| series["name"] == name && series["stat"] == stat);
    let found = found.unwrap_or_else(|| panic!("no {name} {stat}: {answer:#}"));
    found["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap_or(-1.0)).collect()
}

fn cpu(number: usize) -> [(Label, Arc<str>); 1] {
    [(Label::Cpu, number.to_string().into())]
}

fn group(number: u64) -> [(Label, Arc<str>); 2] {
    [(Label::PeerGroup, format!("group-{number}").into()), (Label::ServerPort, "443".into())]
}

#[test]
fn counters_levels_and_percentiles_are_kept_by_series_and_over_all() {
    let mut made = Made::new();
    let bounds: Arc<[f64]> = Arc::from([0.001, 0.01, 0.1]);
    let mut rtt = Distribution::new(Arc::clone(&bounds));
    for cycle in 0..4u64 {
        if cycle > 0 {
            (0..100).for_each(|_| rtt.record(0.005));
        }
        made.cycle(|out| {
            out.observe(conntrack::CONNTRACK_DROP, &cpu(0), 1000 + cycle * 5);
            out.observe(conntrack::CONNTRACK_DROP, &cpu(1), 50);
            out.observe(conntrack::CONNTRACK_TABLE_USAGE, &[], 10 * cycle);
            out.observe(sockets::TCP_RTT, &group(1), Arc::new(rtt.clone()));
        });
    }
    let each = made.ask("names=conntrack.drop,tcp.rtt");
    assert_eq!(each["series"].as_array().unwrap().len(), 4, "{each:#}");
    assert_eq!(values(&each, "conntrack.drop", "value"), [1000.0, 1005.0, 1010.0, 1015.0]);
    assert_eq!(each["series"][0]["labels"]["cpu"], "0");
    assert_eq!(values(&each, "tcp.rtt", "count"), [0.0, 100.0, 200.0, 300.0]);
    let all = made.ask("of=all");
    assert_eq!(values(&all, "conntrack.drop", "increase"), [0.0, 5.0, 10.0, 15.0]);
    assert_eq!(values(&all, "conntrack.table.usage", "sum"), [0.0, 10.0, 20.0, 30.0]);
    let p99 = values(&all, "tcp.rtt", "p99");
    assert!(p99[0] == -1.0 && p99[1..].iter().all(|value| (value - 0.00991).abs() < 1e-6), "{p99:?}");
    let times: Vec<f64> =
        all["times"].as_array().unwrap().iter().map(|time| time.as_f64().unwrap()).collect();
    assert_eq!(times, [999_970.0, 999_980.0, 999_990.0, 1_000_000.0]);
    assert_eq!(all["driven_by"], "scrapes");
}

#[test]
fn a_reset_a_gap_and_a_new_series_are_no_spike() {
    let mut made = Made::new();
    for found in [Some(100), Some(110), None, Some(130), Some(4)] {
        made.cycle(|out| {
            out.observe(conntrack::CONNTRACK_DROP, &cpu(1), 1);
            if let Some(found) = found {
                out.observe(conntrack::CONNTRACK_DROP, &cpu(0), found);
            }
        });
    }
    made.cycle(|out| {
        (0..3).for_each(|number| out.observe(conntrack::CONNTRACK_DROP, &cpu(number), 4));
    });
    // 110 - 100, nothing across the gap, 4 after the reset, and cpu 2 begins with what the kernel has; 3 of cpu 1.
    let all = made.ask("of=all");
    assert_eq!(values(&all, "conntrack.drop", "increase"), [0.0, 10.0, 10.0, 10.0, 14.0, 17.0]);
}

#[test]
fn a_group_that_appears_has_counted_since_the_cycle_before() {
    let mut made = Made::new();
    for groups in 1..4u64 {
        made.cycle(|out| {
            (0..groups).for_each(|number| out.observe(sockets::TCP_RETRANSMITS, &group(number), 50));
        });
    }
    assert_eq!(values(&made.ask("of=all"), "tcp.retransmits", "increase"), [0.0, 50.0, 100.0]);
}

#[test]
fn what_is_sent_is_told_from_what_is_received_also_over_all_series() {
    let mut made = Made::new();
    for cycle in 0..2u64 {
        made.cycle(|out| {
            for number in 0..3 {
                for (direction, segments) in [("transmit", 10), ("receive", 1)] {
                    let labels = [&group(number)[..], &[(Label::IoDirection, direction.into())]].concat();
                    out.observe(sockets::TCP_SEGMENTS, &labels, segments * cycle);
                }
            }
        });
    }
    let all = made.ask("of=all&names=tcp.segments");
    let mut grown: Vec<(String, f64)> = all["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| {
            (
                series["labels"]["network.io.direction"].as_str().unwrap().to_owned(),
                series["values"][1].as_f64().unwrap(),
            )
        })
        .collect();
    grown.sort_by(|left, right| left.0.cmp(&right.0));
    assert_eq!(grown, [("receive".to_owned(), 3.0), ("transmit".to_owned(), 30.0)]);
}

#[test]
fn only_the_greatest_are_returned_if_asked() {
    let mut made = Made::new();
    for cycle in 0..3u64 {
        made.cycle(|out| {
            for number in 0..40u64 {
                // The greatest value is not the greatest growth.
                out.observe(sockets::TCP_RETRANSMITS, &group(number), (40 - number) * 1000 + number * cycle);
            }
        });
    }
    let top = made.ask("names=tcp.retransmits&top=2");
    let groups: Vec<&Value> =
        top["series"].as_array().unwrap().iter().map(|series| &series["labels"]["peer_group"]).collect();
    assert_eq!(groups, ["group-39", "group-38"]);
    assert_eq!(top["cut"], 38);
    assert_eq!(made.ask("names=tcp.retransmits&seconds=10")["times"].as_array().unwrap().len(), 2);
    let ends = made.ask("names=tcp.retransmits&cycles=2");
    assert_eq!(values(&ends, "tcp.retransmits", "value").len(), 2);
    assert_eq!(ends["times"].as_array().unwrap()[0], made.ask("")["times"][0]);
}

#[test]
fn series_that_end_make_room_for_others() {
    let mut made = Made::new();
    for cycle in 0..2000u64 {
        made.cycle(|out| {
            for number in 0..100 {
                out.observe(sockets::TCP_OPEN_CONNECTIONS, &group(cycle * 20 + number), 1);
            }
        });
        assert!(made.history.extent().bytes <= LIMIT);
    }
    // Each group is there for five cycles; those of half an hour are 3,700, more than one metric may have.
    let extent = made.history.extent();
    let each = made.ask("names=tcp.open_connections&seconds=1");
    let kept =
        each["series"].as_array().unwrap().iter().filter(|series| !series["values"][0].is_null()).count();
    assert_eq!(kept + extent.left_out, 100, "{extent:?}");
    assert_eq!(
        values(&made.ask("of=all"), "tcp.open_connections", "sum").last(),
        Some(&100.0),
        "all are counted"
    );
}
