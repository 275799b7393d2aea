//! The table of the metrics: the rules of its rows, and the names, kinds, labels and texts that it leads to.

use crate::support::table::{rows as table_rows, table};
use crate::words::root;
use connscope::catalog::Config;
use connscope::cycle::Sources;
use connscope::export::Shared;
use connscope::export::instruments::HistogramRecorder;
use connscope::export::prometheus::{Pull, Scrape};
use connscope::host::Host;
use connscope::metric::distribution::Distribution;
use connscope::metric::naming::{self, Profile};
use connscope::metric::{Handle, Kind, Label, Metric, Number, Value};
use connscope::reading::{Readings, SourceError};
use connscope::source::worker::Worker;
use connscope::source::{Source, containers};
use connscope::stop::Stop;
use connscope::{agent, export};
use opentelemetry_sdk::Resource;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const PROFILES: [Profile; 2] = [Profile::Otel, Profile::Classic];

/// Names of the semantic conventions for systems that sources report. Nothing else is called `system.`.
const CONVENTIONAL: &[&str] = &[
    "system.cpu.logical.count",
    "system.cpu.time",
    "system.disk.io",
    "system.disk.io_time",
    "system.disk.operation_time",
    "system.disk.operations",
    "system.memory.limit",
    "system.memory.linux.available",
    "system.memory.usage",
    "system.network.connection.count",
    "system.network.io",
    "system.network.packet.count",
    "system.uptime",
];

/// Units of the table that are not annotations in braces.
const UNITS: [&str; 5] = ["", "1", "By", "By/s", "s"];

#[test]
fn the_reference_equals_the_table() {
    let written = std::fs::read_to_string(root().join("METRICS.md")).unwrap_or_default();
    let reference = connscope::metric::reference::markdown(&connscope::agent::parts());
    if written != reference {
        std::fs::write(root().join("METRICS.md"), reference).expect("METRICS.md can be written");
        panic!(
            "METRICS.md was stale and has been rewritten from the parts of the table; look at it and commit it"
        );
    }
}

#[test]
fn a_destination_of_a_container_has_at_most_19_series_which_the_reference_says() {
    let (parts, destination) = (connscope::agent::parts(), &containers::labels::DESTINATION);
    let each = connscope::metric::reference::series_of_each(&parts, destination).unwrap();
    // Three events, nine reasons of failures, and seven others.
    assert_eq!(each, 3 + 9 + 7);
    let total = containers::config::tcp::Tcp::default().total;
    assert_eq!(total * each, 38_000);
    assert!(destination.meaning().contains("by default 2000, which are at most 38,000 series"));
}

#[test]
fn names_are_unique_in_opentelemetry_and_in_each_prometheus_profile() {
    let mut names = BTreeSet::new();
    for metric in table_rows() {
        assert!(names.insert(metric.name), "{} is repeated", metric.name);
    }
    for profile in PROFILES {
        let mut names = BTreeSet::new();
        for name in table_rows().filter_map(|metric| naming::prometheus(metric, profile)) {
            assert!(names.insert(name.clone()), "{name} is repeated in the profile {profile:?}");
        }
    }
}

#[test]
fn names_are_lowercase_and_dotted_and_never_say_total() {
    for Metric { name, .. } in table_rows() {
        let plain = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || matches!(character, '.' | '_')
        };
        assert!(name.chars().all(plain), "{name}: only a-z, 0-9, dots and underscores");
        assert!(name.contains('.'), "{name}: no root");
        assert!(name.split(['.', '_']).all(|word| !word.is_empty()), "{name}: an empty word");
        assert!(
            !name.split(['.', '_']).any(|word| word == "total"),
            "{name}: Prometheus adds the word total"
        );
        assert!(
            CONVENTIONAL.contains(name) || !name.starts_with("system."),
            "{name}: nothing invented inside system.*"
        );
    }
}

#[test]
fn no_metric_of_ours_ends_in_a_suffix_that_prometheus_keeps_for_histograms() {
    for metric in table_rows().filter(|metric| !CONVENTIONAL.contains(&metric.name)) {
        for name in PROFILES.iter().filter_map(|profile| naming::prometheus(metric, *profile)) {
            let reserved = ["_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
            assert!(!reserved, "{name}: promtool refuses it");
            let info = metric.kind == Kind::Gauge && metric.unit.is_empty();
            assert!(info || !name.ends_with("_info"), "{name}: only what is always 1 is called so");
        }
    }
}

#[test]
fn every_description_is_one_sentence_on_one_line() {
    for Metric { name, description, .. } in table_rows() {
        assert!(description.ends_with('.'), "{name}: the description ends with a period");
        assert!(
            description.starts_with(|first: char| first.is_uppercase() || first == '1'),
            "{name}: it begins with a capital, or says what 1 means"
        );
        assert!(!description.contains(". "), "{name}: one sentence; a second one goes after a semicolon");
        assert!(!description.contains(['\n', '\r', '"', '\\']), "{name}: nothing that # HELP would escape");
        assert_eq!(*description, description.trim(), "{name}: no blanks around it");
    }
}

#[test]
fn every_unit_is_known_and_a_state_has_none() {
    for metric in table_rows() {
        let annotation = metric.unit.strip_prefix('{').and_then(|unit| unit.strip_suffix('}'));
        let known = UNITS.contains(&metric.unit)
            || (metric.only_classic && metric.unit == "ms") // as the old exporter has it
            || annotation.is_some_and(|unit| unit.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        assert!(known, "{}: the unit {} is not known", metric.name, metric.unit);
        let state = metric.kind == Kind::Gauge && metric.number == Number::U64;
        assert!(!state || metric.unit != "1", "{}: the unit 1 makes Prometheus say _ratio", metric.name);
    }
}

#[test]
fn every_row_knows_its_place_no_label_is_there_twice_and_only_histograms_have_buckets() {
    let table = table(4, 4);
    for (position, metric) in table.rows().enumerate() {
        assert_eq!(table.index(metric), Some(position), "{}", metric.name);
        let keys: Vec<&str> = metric.labels().iter().map(|label| label.key()).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{}: a label twice", metric.name);
        let histogram = matches!(metric.kind, Kind::Histogram | Kind::RecordedHistogram);
        assert_eq!(metric.boundaries.is_empty(), !histogram, "{}", metric.name);
        assert!(metric.boundaries.is_sorted(), "{}", metric.name);
    }
}

#[test]
fn the_bound_of_every_metric_stays_below_a_hundred_thousand_on_a_large_machine() {
    let large = table(256, 16);
    for metric in table_rows() {
        let series = large.limit(metric);
        assert!((1..100_000).contains(&series), "{}: {series} series", metric.name);
    }
}

#[test]
fn classic_names_are_the_kernels_words_and_their_help_is_the_old_exporters() {
    let conntrack = table_rows().filter_map(|metric| Some((metric, metric.name.strip_prefix("conntrack.")?)));
    for (metric, word) in conntrack {
        let Some(classic) = metric.classic else { continue };
        assert_eq!(classic.name, format!("conntrack_{word}"));
        assert_eq!(classic.help, format!("Total of conntrack {word}"));
        assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
    }
}

#[test]
fn every_kernel_counter_has_its_row_under_its_own_word() {
    use connscope::source::conntrack::fields::{EXPECTATIONS, STATISTICS};
    for known in STATISTICS.iter().chain(EXPECTATIONS) {
        assert_eq!(known.metric.metric().name, format!("conntrack.{}", known.word));
    }
}

/// A row whatever its kind, for a source that has one reading of each.
#[derive(Clone, Copy)]
struct AnyRow(&'static Metric);

impl Handle for AnyRow {
    type Value = Value;
    fn metric(self) -> &'static Metric {
        self.0
    }
    fn value(value: Value) -> Value {
        value
    }
}

struct OneOfEach;

impl Source for OneOfEach {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        for metric in table_rows().filter(|metric| metric.kind != Kind::RecordedHistogram) {
            let value = match (metric.kind, metric.number) {
                (Kind::Histogram, _) => {
                    let mut distribution = Distribution::new(metric.boundaries.into());
                    distribution.record(0.2);
                    Value::Distribution(Arc::new(distribution))
                }
                (_, Number::U64) => Value::U64(1),
                (_, Number::I64) => Value::I64(1),
                (_, Number::F64) => Value::F64(1.0),
            };
            out.observe(AnyRow(metric), &labels(metric), value);
        }
        Ok(())
    }
}

#[test]
fn an_agent_has_the_rows_of_its_enabled_sources_only() {
    let mut config = Config::default();
    let names = |config: &Config| {
        let table = agent::table(config, &Host::new(&config.inventory)).unwrap();
        table.rows().map(|row| row.name).collect::<BTreeSet<_>>()
    };
    let before = names(&config);
    for (name, enabled) in
        [("conntrack.drop", true), ("connscope.source.up", true), ("connscope.log.dropped", true)]
    {
        assert_eq!(before.contains(name), enabled, "{name}");
    }
    assert!(!config.sources.containers.enabled && !before.iter().any(|name| name.starts_with("container.")));
    config.sources.containers.enabled = true;
    config.sources.conntrack.enabled = false;
    let after = names(&config);
    assert!(after.contains("container.restarts") && !after.iter().any(|name| name.starts_with("conntrack.")));
}

fn labels(metric: &Metric) -> Vec<(Label, Arc<str>)> {
    metric.labels().iter().map(|label| (*label, "x".into())).collect()
}

fn exposition_of_every_row(profile: Profile) -> String {
    let stop = Stop::new().expect("an eventfd can be had");
    let worker = Worker::start("conntrack", Duration::from_secs(5), Box::new(OneOfEach))
        .expect("a thread can be started");
    let shared = Shared {
        resource: Resource::builder_empty().build().into(),
        sources: Arc::new(Sources::of(vec![worker], table(1, 1), None, &stop)),
        recorder: HistogramRecorder::default(),
    };
    let pull = Pull::new(&shared, profile).expect("the table fits the bridge");
    let histogram = export::metrics::OTEL_OPERATION_DURATION;
    shared.recorder.record(histogram, &labels(histogram.metric()), 0.2);
    match pull.scrape() {
        Scrape::Exposition(text) => text,
        Scrape::Nothing(why) => panic!("{why}"),
    }
}

#[test]
fn the_names_we_document_are_the_names_the_bridge_prints() {
    for profile in PROFILES {
        let text = exposition_of_every_row(profile);
        // `.ci/rules` has promtool check it.
        if let Some(file) = std::env::var_os("CONNSCOPE_EXPOSITION").filter(|_| profile == Profile::Otel) {
            std::fs::write(&file, &text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
        let printed: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .filter(|(name, _)| *name != "target_info")
            .collect();
        let mut documented = BTreeSet::new();
        for metric in table_rows() {
            let Some(name) = naming::prometheus(metric, profile) else { continue };
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::UpDownCounter | Kind::Gauge => "gauge",
                Kind::Histogram | Kind::RecordedHistogram => "histogram",
            };
            assert_eq!(printed.get(name.as_str()), Some(&kind), "{name} in the profile {profile:?}:\n{text}");
            documented.insert(name);
        }
        let printed: BTreeSet<String> = printed.into_keys().map(str::to_owned).collect();
        assert_eq!(printed, documented, "profile {profile:?}");
    }
}

#[test]
fn the_labels_and_helps_we_document_are_those_the_bridge_prints() {
    for profile in PROFILES {
        let text = exposition_of_every_row(profile);
        for metric in table_rows() {
            let Some(name) = naming::prometheus(metric, profile) else { continue };
            let help = match profile {
                Profile::Otel => metric.description,
                Profile::Classic => metric.classic.expect("it has a classic name").help,
            };
            assert!(text.contains(&format!("# HELP {name} {help}\n")), "{name}:\n{text}");
            let histogram = matches!(metric.kind, Kind::Histogram | Kind::RecordedHistogram);
            let sample = if histogram { format!("{name}_count") } else { name };
            let mut keys: Vec<String> =
                metric.labels().iter().map(|label| naming::label(label.key())).collect();
            keys.sort();
            let keys: Vec<String> = keys.iter().map(|key| format!("{key}=\"x\"")).collect();
            let labels = if keys.is_empty() { String::new() } else { format!("{{{}}}", keys.join(",")) };
            assert!(text.contains(&format!("\n{sample}{labels} ")), "{sample}{labels}:\n{text}");
        }
    }
}
