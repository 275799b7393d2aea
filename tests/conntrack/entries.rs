//! The entries of the table: real traffic through real rules, counted as `conntrack -L` shows it.

use super::traffic::{self, Traffic};
use crate::support::{Namespace, eventually};
use connscope::catalog::Config;
use connscope::host::netns::Finder;
use connscope::metric::{Label, Value};
use connscope::reading::{Reading, Readings};
use connscope::source::Mode;
use connscope::source::conntrack::config::Conntrack as Settings;
use connscope::source::conntrack::entries::Entries;
use connscope::source::conntrack::entries::config::{Entries as EntrySettings, Family};
use connscope::source::conntrack::entries::message::Mark;
use connscope::stop::Stop;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// Settings with the part on, and one change.
pub(super) fn settings(change: impl FnOnce(&mut EntrySettings)) -> Settings {
    let mut settings = Settings { timeout: crate::support::PATIENCE, ..Config::default().sources.conntrack };
    settings.entries.enabled = true;
    change(&mut settings.entries);
    settings
}

/// What one dump in a namespace finds.
pub(super) fn read(namespace: &Namespace, settings: &Settings) -> Readings {
    namespace.inside(|| {
        let stop = Stop::new().unwrap();
        let mut entries = Entries::start(settings, Mode::Once, &stop).unwrap().unwrap();
        let mut readings = Readings::default();
        let found = (!settings.netns.is_empty()).then(|| Finder::new(&settings.netns).find().namespaces);
        entries.observe(found.as_deref(), &mut readings);
        stop.drain();
        stop.kill();
        assert_eq!(readings.failed().count(), 0, "{:?}", readings.failed().collect::<Vec<_>>());
        readings
    })
}

pub(super) fn label(reading: &Reading, label: Label) -> &str {
    reading.labels.iter().find(|(key, _)| *key == label).map_or("-", |(_, value)| value)
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub(super) fn number(reading: &Reading) -> f64 {
    match &reading.value {
        Value::U64(value) => *value as f64,
        Value::I64(value) => *value as f64,
        Value::F64(value) => *value,
        Value::Distribution(distribution) => distribution.count() as f64,
    }
}

/// The readings of a metric.
pub(super) fn of<'a>(readings: &'a Readings, metric: &str) -> Vec<&'a Reading> {
    readings.iter().filter(|reading| reading.metric.name == metric).collect()
}

/// The value of a metric that has one series.
pub(super) fn single(readings: &Readings, metric: &str) -> f64 {
    let found = of(readings, metric);
    assert_eq!(found.len(), 1, "{metric}");
    number(found[0])
}

type Counts = BTreeMap<String, f64>;

/// The entries as the script counts them: `family protocol state status nat zone`.
fn counts(readings: &Readings) -> Counts {
    let keys = [
        Label::NetworkType,
        Label::Transport,
        Label::ConnectionState,
        Label::EntryStatus,
        Label::Nat,
        Label::Zone,
    ];
    of(readings, "conntrack.entries")
        .into_iter()
        .map(|reading| (keys.map(|key| label(reading, key)).join(" "), number(reading)))
        .collect()
}

/// What `conntrack -L` shows with these arguments, counted by the script.
fn listed(namespace: &Namespace, arguments: &[&str]) -> Counts {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conntrack/count.awk");
    let mut counts = Counts::new();
    for family in ["ipv4", "ipv6"] {
        let mut list = vec!["-L", "-o", "extended", "-f", family];
        list.extend(arguments);
        let text = namespace.run("conntrack", &list);
        let mut awk = Command::new("awk");
        awk.args(["-f", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut awk = awk.spawn().unwrap();
        std::io::Write::write_all(&mut awk.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let output = String::from_utf8(awk.wait_with_output().unwrap().stdout).unwrap();
        for line in output.lines() {
            let (class, count) = line.rsplit_once(' ').unwrap();
            counts.insert(class.to_owned(), count.parse().unwrap());
        }
    }
    counts
}

#[test]
fn entries_are_counted_as_conntrack_lists_them() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::rules(&namespace);
    let kept = Traffic::everything(&namespace);
    let readings = read(&namespace, &settings(|_| {}));
    let found = counts(&readings);
    assert_eq!(found, listed(&namespace, &[]));
    for class in [
        "ipv4 tcp established assured none 0",
        "ipv4 tcp syn_sent unreplied none 0",
        "ipv4 tcp established assured both 0",
        "ipv4 udp - unreplied none 7",
        "ipv4 udp - unreplied source 0",
        "ipv4 udp - unreplied destination 0",
        "ipv4 sctp closed unreplied none 0",
        "ipv4 gre - unreplied none 0",
        "ipv4 253 - unreplied none 0",
        "ipv4 icmp - replied none 0",
        "ipv6 icmpv6 - replied none 0",
    ] {
        assert!(found.contains_key(class), "{class} is not in {found:#?}");
    }
    assert_eq!(single(&readings, "connscope.conntrack.dump.share"), 1.0);
    assert_eq!(single(&readings, "connscope.conntrack.dump.ended_early"), 0.0);
    assert!(single(&readings, "connscope.conntrack.dump.age") < 60.0);
    assert!(single(&readings, "connscope.conntrack.dump.cpu.time") > 0.0);
    drop(kept);
}

#[test]
fn only_what_the_settings_ask_for_is_counted() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::rules(&namespace);
    let kept = Traffic::everything(&namespace);
    let all = counts(&read(&namespace, &settings(|_| {})));
    let by = |part: &str| -> Counts {
        all.iter()
            .filter(|(class, _)| class.contains(part))
            .map(|(key, value)| (key.clone(), *value))
            .collect()
    };
    let ipv6 = counts(&read(&namespace, &settings(|entries| entries.family = Family::Ipv6)));
    assert_eq!(ipv6, by("ipv6"));
    let zone = counts(&read(&namespace, &settings(|entries| entries.zone = Some(7))));
    assert_eq!(zone.len(), 1, "{zone:?}");
    assert_eq!(zone, listed(&namespace, &["--zone", "7"]));
    let mark = Mark { value: 0x21, mask: 0xff };
    let marked = counts(&read(&namespace, &settings(|entries| entries.mark = Some(mark))));
    assert!(!marked.is_empty());
    assert_eq!(marked, listed(&namespace, &["--mark", "0x21/0xff"]));
    assert!(marked.values().sum::<f64>() < all.values().sum());
    drop(kept);
}

#[test]
fn entries_over_the_limit_are_counted_together() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::rules(&namespace);
    let kept = Traffic::everything(&namespace);
    let all = counts(&read(&namespace, &settings(|_| {})));
    let few = counts(&read(&namespace, &settings(|entries| entries.limit = 3)));
    assert_eq!(few.len(), 4);
    assert!(few.contains_key("~other ~other - ~other ~other ~other"), "{few:?}");
    assert_eq!(few.values().sum::<f64>(), all.values().sum::<f64>());
    drop(kept);
}

#[test]
fn a_dump_ends_when_its_budget_is_used_up_and_says_what_part_it_read() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::udp_flows(&namespace, 5000);
    // 1 ms of CPU time: a datagram of the kernel has about 150 entries, and takes a debug build longer than that.
    let tight = |entries: &mut EntrySettings| {
        entries.interval = std::time::Duration::from_secs(1);
        entries.budget = 0.001;
    };
    let readings = read(&namespace, &settings(tight));
    let share = single(&readings, "connscope.conntrack.dump.share");
    assert!(share > 0.0 && share < 0.9, "{share}");
    assert_eq!(single(&readings, "connscope.conntrack.dump.ended_early"), 1.0);
    let found: f64 = counts(&readings).values().sum();
    let usage: f64 = namespace.run("conntrack", &["-C"]).trim().parse().unwrap();
    assert!((found / usage - share).abs() < 0.02, "{found} of {usage} entries, {share}");
    // With a filter nobody knows how many entries there would have been.
    let filtered = read(
        &namespace,
        &settings(|entries| {
            tight(entries);
            entries.family = Family::Ipv4;
        }),
    );
    assert!(of(&filtered, "connscope.conntrack.dump.share").is_empty());
}

#[test]
fn namespaces_are_dumped_each_for_itself() {
    let Some(first) = Namespace::new() else { return };
    let second = Namespace::new().unwrap();
    traffic::udp_flows(&first, 3);
    traffic::udp_flows(&second, 8);
    let mut settings = settings(|_| {});
    settings.netns = vec![first.path(), second.path()];
    let readings = read(&first, &settings);
    let of_namespace = |namespace: &Namespace| -> f64 {
        let readings = of(&readings, "conntrack.entries");
        let own = readings.iter().filter(|reading| label(reading, Label::Netns) == namespace.path());
        own.map(|reading| number(reading)).sum()
    };
    let usage = |namespace: &Namespace| namespace.run("conntrack", &["-C"]).trim().parse::<f64>().unwrap();
    assert_eq!((of_namespace(&first), of_namespace(&second)), (usage(&first), usage(&second)));
    assert!(of_namespace(&second) >= of_namespace(&first) + 5.0);
}

#[test]
fn cycles_report_the_last_dump_and_entries_that_are_gone_are_zero() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::udp_flows(&namespace, 4);
    let settings = settings(|entries| entries.interval = std::time::Duration::from_secs(1));
    namespace.inside(|| {
        let stop = Stop::new().unwrap();
        let mut entries = Entries::start(&settings, Mode::Once, &stop).unwrap().unwrap();
        let mut cycle = || {
            let mut readings = Readings::default();
            entries.observe(None, &mut readings);
            readings
        };
        let class = "ipv4 udp - unreplied none 0";
        let first = counts(&cycle());
        assert!(first[class] >= 4.0, "{first:?}");
        let output = Command::new("conntrack").args(["-F"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut ages = Vec::new();
        eventually("the entries are gone", || {
            let readings = cycle();
            ages.push(single(&readings, "connscope.conntrack.dump.age"));
            counts(&readings)[class] == 0.0
        });
        assert!(ages.windows(2).any(|pair| pair[1] > pair[0]), "a cycle does not wait for a dump: {ages:?}");
        stop.drain();
        stop.kill();
    });
}

#[test]
fn the_program_counts_entries_only_if_it_is_told_to() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::udp_flows(&namespace, 6);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("connscope.yaml");
    let print = |text: &str| {
        std::fs::write(
            &file,
            format!("resource: {{cloud: {{detect: off}}}}\nsources: {{conntrack: {text}}}"),
        )
        .unwrap();
        let path = file.display().to_string();
        let arguments = ["once", "--config", &path, "--format", "prometheus"];
        let output = namespace.inside(|| crate::support::connscope(&arguments));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let off = print("{}");
    assert!(off.contains("conntrack_table_usage"), "{off}");
    assert!(!off.contains("conntrack_entries"), "{off}");
    let on = print("{entries: {enabled: true}}");
    let series = "conntrack_entries{nat=\"none\",network_transport=\"udp\",network_type=\"ipv4\",status=\"unreplied\",zone=\"0\"}";
    assert_eq!(crate::support::sample(&on, series), Some(6.0), "{on}");
}

#[test]
fn the_check_says_what_a_dump_finds() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::udp_flows(&namespace, 6);
    let stop = Stop::new().unwrap();
    let check = |settings: &Settings| {
        namespace.inside(|| connscope::source::conntrack::entries::check(settings, &stop))
    };
    let on = check(&settings(|_| {})).unwrap();
    assert!(on.works() && on.via == "entries" && on.detail.starts_with("6 entries in "), "{on:?}");
    assert!(check(&settings(|entries| entries.enabled = false)).is_none());
}
