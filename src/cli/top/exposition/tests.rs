//! Expositions, in both namings, whole, cut off and hostile.

use super::{Behaviour, Exposition, MOST_SERIES, Names, parse};
use crate::agent;
use crate::metric::naming::{self, Profile};
use std::collections::HashMap;

const TEXT: &str = "# HELP conntrack_found_total Entries found.\n# TYPE conntrack_found_total counter\n\
    conntrack_found_total{cpu=\"0\"} 3\nconntrack_found_total{cpu=\"1\"} 4 1700000000000\n\
    # TYPE tcp_rtt_seconds histogram\ntcp_rtt_seconds_bucket{direction=\"incoming\",le=\"0.001\"} 1\n\
    tcp_rtt_seconds_bucket{direction=\"incoming\",le=\"+Inf\"} 5\ntcp_rtt_seconds_sum{direction=\"incoming\"} 0.5\n\
    tcp_rtt_seconds_count{direction=\"incoming\"} 5\ntcp_rtt_seconds_bucket{direction=\"outgoing\",le=\"0.001\"} 2\n\
    # TYPE of_another_program gauge\nof_another_program{a=\"x\\\"y\\\\z\\n\",b=\"}\",} +Inf\nnothing NaN\n";

const SAME: [(&str, &str); 3] = [
    ("container.restarts", "container.classic.restarts"),
    ("container.oom_kills", "container.classic.oom_kills"),
    ("container.log.messages", "container.classic.log.messages"),
];

fn read(text: &str) -> Exposition {
    parse(text, &Names::of(&agent::parts()), MOST_SERIES)
}

#[test]
fn families_have_the_names_of_the_table_and_labels_their_values() {
    let read = read(TEXT);
    let found = &read.families["conntrack.found"];
    assert_eq!((found.unit, found.behaviour), ("{lookup}", Behaviour::Counter));
    let values: Vec<(&str, f64)> =
        found.series.iter().map(|series| (series.label("cpu"), series.value)).collect();
    assert_eq!(values, [("0", 3.0), ("1", 4.0)]);
    let rtt = &read.families["tcp.rtt"];
    assert_eq!(rtt.series.len(), 2, "{rtt:?}");
    assert_eq!(rtt.series[0].buckets, [(0.001, 1.0), (f64::INFINITY, 5.0)]);
    assert_eq!((rtt.series[0].value, rtt.series[0].label("le")), (5.0, ""));
    let other = &read.families["of_another_program"].series[0];
    // What was changed ends in a digest.
    assert!(other.label("a").starts_with("x\"y\\z …"), "{other:?}");
    assert_eq!((other.label("b"), other.value), ("}", f64::INFINITY));
    assert_eq!((read.series, read.left_out), (5, 0));
}

#[test]
fn the_classic_names_are_the_same_metrics() {
    let read = read(
        "# TYPE conntrack_found counter\nconntrack_found{cpu=\"0\"} 3\n# TYPE tcp_rtt gauge\ntcp_rtt{flow=\"a\"} 2.5\n",
    );
    assert_eq!(read.families["conntrack.found"].behaviour, Behaviour::Counter);
    assert_eq!(read.families["tcp.flow.rtt"].unit, "ms");
}

#[test]
fn no_name_means_two_metrics_of_one_kind() {
    let mut of: HashMap<String, &str> = HashMap::new();
    let mut shared = Vec::new();
    for row in agent::parts().iter().flat_map(|part| part.rows) {
        for name in
            [Profile::Otel, Profile::Classic].iter().filter_map(|profile| naming::prometheus(row, *profile))
        {
            let name = format!("{name}, {:?}", super::behaviour(row));
            if let Some(other) = of.insert(name.clone(), row.name).filter(|other| *other != row.name) {
                shared.push((other, row.name));
            }
        }
    }
    // They mean the same, and one view has both.
    assert_eq!(shared, SAME, "`connscope top` cannot tell them apart");
    let both = |kind: &str| read(&format!("# TYPE tcp_cwnd {kind}\ntcp_cwnd_count 1\ntcp_cwnd 1\n")).families;
    assert!(both("histogram").contains_key("tcp.cwnd") && both("gauge").contains_key("tcp.flow.cwnd"));
}

#[test]
fn whatever_is_cut_off_is_left_out_and_the_rest_is_read() {
    for end in (0..TEXT.len()).filter(|end| TEXT.is_char_boundary(*end)) {
        let read = read(TEXT.get(..end).unwrap());
        assert!(read.series <= 5, "{end}");
    }
    for line in [
        "a{",
        "a{b",
        "a{b=",
        "a{b=\"",
        "a{b=\"c\\",
        "a{b=\"c\"}",
        "a b",
        "a{=\"x\"} 1",
        "{} 1",
        "a",
        "é 1",
        "a{b=\"c\"d} 1",
    ] {
        assert_eq!(read(line).series, 0, "{line}");
    }
}

#[test]
fn what_others_write_commands_no_terminal_and_is_bounded() {
    let hostile = "\u{1b}[2Jcleared\u{202e}turned\u{9b}31m";
    let read = read(&format!("a{{b=\"{hostile}\"}} 1\na{{b=\"{}\"}} 2\n", "long".repeat(1000)));
    for series in &read.families["a"].series {
        let shown = series.label("b");
        assert!(
            shown.len() <= 256
                && !shown.chars().any(|character| character.is_control() || character == '\u{202e}'),
            "{shown:?}"
        );
    }
    let many = (0..20).map(|number| format!("a{{b=\"{number}\"}} 1\n")).collect::<Vec<_>>().concat();
    let read = parse(&many, &Names::of(&[]), 15);
    assert_eq!((read.series, read.left_out), (15, 5));
    let labels = (0..100).map(|number| format!("l{number}=\"\",")).collect::<Vec<_>>().concat();
    assert_eq!(super::parse(&format!("a{{{labels}}} 1\n"), &Names::of(&[]), 15).series, 0);
}
