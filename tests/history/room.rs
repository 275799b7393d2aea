//! Who has room in the history where not everything has, and what is no spike in a plot.

use super::{Made, cpu, group, values};
use crate::support::table::bounds;
use connscope::agent;
use connscope::catalog::Config;
use connscope::history::LIMIT;
use connscope::history::index::MAX_POSITIONS;
use connscope::metric::distribution::Distribution;
use connscope::metric::{Handle, Label, Table};
use connscope::reading::Readings;
use connscope::source::conntrack::metrics as conntrack;
use connscope::source::containers::metrics as containers;
use connscope::source::probes::metrics as probes;
use connscope::source::sockets::metrics as sockets;
use serde_json::Value;
use std::sync::Arc;

/// No cycles, with a table in which every label may have many values.
fn wide() -> Made {
    let mut bounds = bounds(&Config::default());
    for (_, values) in &mut bounds {
        *values = 5000;
    }
    Made { table: Arc::new(Table::of(&agent::parts(), &bounds).unwrap()), ..Made::new() }
}

fn target(number: usize) -> [(Label, Arc<str>); 3] {
    [
        (Label::ProbeName, format!("target-{number}-of-a-team-with-a-long-name").into()),
        (Label::ServerAddress, format!("service-{number}.prod.svc.cluster.local").into()),
        (Label::ServerPort, "443".into()),
    ]
}

/// Probes of five hundred targets, of which some are down, with the distributions of their durations.
fn probed(out: &mut Readings, down: &[usize]) {
    for number in 0..500 {
        let is_down = down.contains(&number);
        out.observe(probes::PROBE_UP, &target(number), u64::from(!is_down));
        let mut labels = target(number).to_vec();
        for error in [None, is_down.then_some("timeout")] {
            labels.extend(error.map(|error| (Label::ErrorType, error.into())));
            let bounds = probes::PROBE_DURATION.metric().boundaries;
            let mut durations = Distribution::new(bounds.into());
            (0..if error.is_some() { 1 } else { 50 }).for_each(|_| durations.record(0.1));
            out.observe(probes::PROBE_DURATION, &labels, Arc::new(durations));
        }
    }
}

/// Groups of connections, so many that they alone would fill the history.
fn grouped(out: &mut Readings, groups: u64, segments: u64) {
    for number in 0..groups {
        out.observe(sockets::TCP_OPEN_CONNECTIONS, &group(number), 1);
        out.observe(sockets::TCP_RETRANSMITS, &group(number), segments);
        for direction in ["transmit", "receive"] {
            let labels = [&group(number)[..], &[(Label::IoDirection, direction.into())]].concat();
            out.observe(sockets::TCP_SEGMENTS, &labels, segments);
            out.observe(sockets::TCP_IO, &labels, segments);
        }
        for event in ["opened", "closed", "reset", "failed"] {
            let labels = [&group(number)[..], &[(Label::Event, event.into())]].concat();
            out.observe(sockets::TCP_CONNECTIONS, &labels, segments);
        }
    }
}

/// The newest value of each series of a metric, by the name of its target.
fn newest(answer: &Value, name: &str) -> Vec<(String, f64)> {
    let all = answer["series"].as_array().unwrap().iter();
    all.filter(|series| series["name"] == name && (series["stat"] == "value" || series["stat"] == "count"))
        .filter_map(|series| {
            let value = series["values"].as_array().unwrap().last().unwrap().as_f64()?;
            let error = series["labels"]["error.type"].as_str().unwrap_or_default();
            Some((format!("{}{error}", series["labels"]["probe.name"].as_str().unwrap_or_default()), value))
        })
        .collect()
}

#[test]
fn a_probe_that_is_down_has_room_among_five_hundred_and_many_groups() {
    let mut made = wide();
    let mut was = Vec::new();
    for (cycle, down) in [&[][..], &[499], &[499, 3], &[250]].into_iter().enumerate() {
        made.cycle(|out| {
            grouped(out, 500, 10 * cycle as u64);
            probed(out, down);
        });
        let extent = made.history.extent();
        assert!(extent.bytes <= LIMIT && extent.left_out > 0 && extent.cycles.1 == cycle + 1, "{extent:?}");
        let page = made.ask("seconds=300&cycles=2&names=probe.up,probe.duration,tcp.open_connections");
        for number in down {
            let name = format!("target-{number}-of-a-team-with-a-long-name");
            assert!(newest(&page, "probe.up").contains(&(name.clone(), 0.0)), "{number} in cycle {cycle}");
            assert!(newest(&page, "probe.duration").contains(&(format!("{name}timeout"), 1.0)), "{number}");
        }
        // Those that were down and are up again are not taken to be down.
        for number in was.iter().filter(|number| !down.contains(number)) {
            let name = format!("target-{number}-of-a-team-with-a-long-name");
            assert!(!newest(&page, "probe.up").contains(&(name, 0.0)), "{number}");
        }
        assert!(newest(&page, "tcp.open_connections").len() > 30, "each metric has some room");
        let cut = &page["cut_by_name"];
        assert!(cut["probe.up"].as_u64().unwrap() > 0 && cut["tcp.open_connections"].as_u64().unwrap() > 0);
        let all: u64 = cut.as_object().unwrap().values().map(|cut| cut.as_u64().unwrap()).sum();
        assert_eq!(page["cut"], all);
        was = down.to_vec();
    }
}

#[test]
fn every_metric_that_the_page_lists_has_room_whatever_the_others_have() {
    let mut made = wide();
    let table = Arc::clone(&made.table);
    for cycle in 1..4u64 {
        made.cycle(|out| {
            grouped(out, 2000, 7);
            for number in 0..4000u64 {
                let labels =
                    [&group(number)[1..], &[(Label::ContainerName, format!("c{number}").into())]].concat();
                out.observe(containers::CONTAINER_TCP_CONNECTIONS, &labels, number * cycle);
                out.observe(containers::CONTAINER_TCP_RETRANSMITS, &labels, number);
                out.observe(containers::CONTAINER_TCP_RTT, &labels, 0.01);
            }
            probed(out, &[7]);
        });
    }
    assert!(made.history.extent().bytes <= LIMIT);
    let page = made.ask("");
    let has = |name: &str| {
        let of = |series: &&Value| series["name"] == name && series["values"].as_array().unwrap().len() == 3;
        page["series"].as_array().unwrap().iter().filter(of).count()
    };
    let listed = table.rows().filter(|metric| metric.recording.listed);
    for name in listed.map(|metric| metric.name).filter(|name| !name.contains("queue") && *name != "tcp.rtt")
    {
        assert!(has(name) >= 60, "{name}: {} of {MAX_POSITIONS}", has(name));
    }
    assert!(has("tcp.io") > 60, "the others have a quarter: {}", has("tcp.io"));
    // The destination with the most connections is among them.
    let top = made.ask("names=container.tcp.connections&top=1");
    assert_eq!(top["series"][0]["labels"]["container.name"], "c3999", "{top:#}");
}

#[test]
fn series_without_room_count_in_the_increase_and_make_no_spike() {
    let mut made = wide();
    for cycle in 0..4u64 {
        // From the second cycle on there are more than have room; each grows by 3 in a cycle.
        made.cycle(|out| {
            for number in 0..if cycle == 0 { 10 } else { 700 } {
                let began = if number < 10 { 1000 } else { 0 };
                out.observe(sockets::TCP_RETRANSMITS, &group(number), began + 3 * cycle);
            }
        });
    }
    let grown = values(&made.ask("of=all"), "tcp.retransmits", "increase");
    assert_eq!(grown, [0.0, 2100.0, 4200.0, 6300.0]);
    // Three hundred end, and others get their room: what they have counted long ago is no growth.
    for cycle in 4..6u64 {
        made.cycle(|out| {
            for number in 300..700 {
                out.observe(sockets::TCP_RETRANSMITS, &group(number), 3 * cycle);
            }
        });
    }
    let grown = values(&made.ask("of=all"), "tcp.retransmits", "increase");
    assert!(grown[4] - grown[3] <= 1200.0, "{grown:?}");
    assert_eq!(grown[5] - grown[4], 1200.0, "{grown:?}");
    let each = made.ask("names=tcp.retransmits&seconds=300");
    let late = each["series"]
        .as_array()
        .unwrap()
        .iter()
        .find(|series| series["labels"]["peer_group"] == "group-699" || series["values"][3].is_null());
    assert_eq!(late.unwrap()["from_zero"], false, "the page takes no growth from its first value: {late:#?}");
}

#[test]
fn a_source_that_misses_a_cycle_makes_no_jump_of_series_without_room() {
    let mut made = wide();
    for cycle in 0..6u64 {
        made.cycle(|out| {
            for number in 0..if cycle == 3 { 0 } else { 700 } {
                out.observe(sockets::TCP_RETRANSMITS, &group(number), 1000 + 3 * cycle);
            }
        });
    }
    assert!(made.history.extent().left_out > 0);
    let grown = values(&made.ask("of=all"), "tcp.retransmits", "increase");
    // Across the gap nothing is known, and the sum begins again.
    assert_eq!(grown, [0.0, 2100.0, 4200.0, -1.0, 0.0, 2100.0]);
}

#[test]
fn a_source_that_misses_a_cycle_makes_no_jump_of_series_that_lost_their_room() {
    let mut made = wide();
    for cycle in 0..6u64 {
        made.cycle(|out| {
            // Another source has more than have room, so that those that have ended lose theirs at once.
            for number in 0..600 {
                let labels =
                    [&group(number)[1..], &[(Label::ContainerName, format!("c{number}").into())]].concat();
                out.observe(containers::CONTAINER_TCP_RTT, &labels, 0.01);
            }
            for number in 0..if cycle == 3 { 0 } else { 100 } {
                let grows = if number == 99 { 5 } else { 3 };
                out.observe(sockets::TCP_RETRANSMITS, &group(number), 10_000 - number + grows * cycle);
            }
            if cycle == 5 {
                out.observe(sockets::UDP_DROPS, &group(0), 7);
            }
        });
    }
    let all = made.ask("of=all");
    assert_eq!(values(&all, "tcp.retransmits", "increase"), [0.0, 302.0, 604.0, -1.0, 0.0, 302.0]);
    assert_eq!(values(&all, "udp.drops", "increase").last(), Some(&7.0), "it has never had readings before");
    let each = made.ask("names=tcp.retransmits");
    let each = each["series"].as_array().unwrap();
    assert!(each.len() == 100 && each.iter().all(|series| series["from_zero"] == false), "{each:#?}");
    // The one that has grown the most, not the one that has counted the most.
    let top = made.ask("names=tcp.retransmits&top=1");
    assert_eq!(top["series"][0]["labels"]["peer_group"], "group-99");
}

#[test]
fn a_cycle_that_began_no_later_than_the_newest_is_dropped() {
    let mut made = Made::new();
    for drops in [100, 120] {
        made.cycle(|out| out.observe(conntrack::CONNTRACK_DROP, &cpu(0), drops));
    }
    let before = made.ask("of=all");
    for late in [10, 20] {
        // Another reader had asked before, and was slower.
        made.cycles = late / 10 - 1;
        made.cycle(|out| out.observe(conntrack::CONNTRACK_DROP, &cpu(0), 100 + u64::from(late)));
    }
    assert_eq!(made.cycles, 2);
    assert_eq!(made.ask("of=all"), before);
    made.cycle(|out| out.observe(conntrack::CONNTRACK_DROP, &cpu(0), 121));
    assert_eq!(values(&made.ask("of=all"), "conntrack.drop", "increase"), [0.0, 20.0, 21.0]);
}

#[test]
fn a_series_that_begins_says_whether_its_first_value_is_growth() {
    let mut made = Made::new();
    for cycle in 0..3u64 {
        made.cycle(|out| {
            for number in 0..=cycle {
                out.observe(sockets::TCP_RETRANSMITS, &group(number), 5);
                out.observe(conntrack::CONNTRACK_DROP, &cpu(usize::try_from(number).unwrap()), 5);
            }
        });
    }
    let flags = |name: &str| -> Vec<bool> {
        let answer = made.ask(&format!("names={name}"));
        let all = answer["series"].as_array().unwrap().iter();
        all.map(|series| series["from_zero"].as_bool().unwrap()).collect()
    };
    assert_eq!(flags("tcp.retransmits"), [false, true, true]);
    assert_eq!(flags("conntrack.drop"), [false; 3]);
    // Of a group that is new the increase is what it has counted.
    assert_eq!(made.ask("names=tcp.retransmits&top=1")["series"][0]["labels"]["peer_group"], "group-1");
}
