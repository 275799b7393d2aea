//! A source of a dozen lines, written against the public interface: what adding one takes. Its settings, its flag, its
//! table, its labels and their bound stand with it; a list of sources of its own names it, as `src/catalog.rs` names ours.

use connscope::cycle::Sources as Working;
use connscope::cycle::set::{SourceDependencies, SourceSet};
use connscope::export::Shared;
use connscope::export::instruments::HistogramRecorder;
use connscope::export::prometheus::{Pull, Scrape};
use connscope::host::Host;
use connscope::host::inventory::config::Inventory;
use connscope::metric::naming::Profile;
use connscope::metric::{Bounds, Label, LabelSet, Part, Table, TableError};
use connscope::reading::{Readings, SourceError};
use connscope::source::{self, Check, Flag, Mode, Requirement, Source, SourceKind, list};
use connscope::stop::Stop;
use connscope::{self_metrics, settings};
use opentelemetry_sdk::Resource;
use std::sync::Arc;
use std::time::Duration;

static DIRECTION: LabelSet = LabelSet::configured(&[Label::Direction], "directions there are");

connscope::metrics! {
    /// Packets that a sample source has seen.
    SAMPLE_PACKETS: Counter<u64> = "sample.packets" in "{packet}", by [DIRECTION];
}

/// The settings of the sample.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    enabled: bool,
    first: u64,
}

struct Sample(u64);

impl Source for Sample {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        for (count, direction) in (self.0..).zip(["incoming", "outgoing", "neither"]) {
            out.observe(SAMPLE_PACKETS, &[(Label::Direction, direction.into())], count);
        }
        Ok(())
    }
}

impl SourceKind for Sample {
    type Settings = Settings;
    const NAME: &'static str = "sample";
    const PART: &'static Part = &PART;
    const REQUIREMENTS: &'static [Requirement] = &[];
    const FLAGS: &'static [Flag] =
        &[Flag { name: "--sample-first", value: "NUMBER", help: "The first count", words: &[] }];

    fn enabled(settings: &Settings) -> bool {
        settings.enabled
    }

    fn deadline(_: &Settings, _: Mode) -> Duration {
        Duration::from_secs(5)
    }

    fn bounds(_: &Settings, _: &Host) -> Bounds {
        vec![(&DIRECTION, 2)]
    }

    fn build(settings: &Settings, _: &Host, _: Mode, _: &Stop) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(Sample(settings.first)))
    }

    fn check(_: &Settings, _: &Host, _: &Stop) -> Vec<Check> {
        vec![Check::new(Self::NAME, "always", Ok("it counts".to_owned()))]
    }

    fn set_flag(settings: &mut Settings, _: &str, value: &str) -> Result<(), String> {
        settings.first = value.parse().map_err(|_| "is not a number".to_owned())?;
        Ok(())
    }
}

connscope::sources! {
    /// The sample.
    sample: Sample = Settings;
}

/// One scrape of the sources of the list above, by these settings.
fn scraped(settings: &Sources) -> String {
    let parts: Vec<&Part> = list::parts(SOURCES).chain([&self_metrics::metrics::PART]).collect();
    let host = Host::new(&Inventory::default());
    let mut bounds = list::bounds(SOURCES, settings, &host);
    bounds.push((&source::metrics::NETNS, 1));
    let table = Arc::new(Table::of(&parts, &bounds).unwrap());
    let stop = Stop::new().unwrap();
    let dependencies =
        SourceDependencies { host: &host, mode: Mode::Run, table, self_metrics: Vec::new(), stop: &stop };
    let set = SourceSet::start(SOURCES, settings, dependencies, |_| None).unwrap();
    let shared = Shared {
        resource: Resource::builder_empty().build().into(),
        sources: Arc::new(Working::new(set, &stop)),
        recorder: HistogramRecorder::default(),
    };
    match Pull::new(&shared, Profile::Otel).unwrap().scrape() {
        Scrape::Exposition(text) => text,
        Scrape::Nothing(why) => why,
    }
}

#[test]
fn a_source_brings_its_settings_its_metrics_its_labels_and_their_bound() {
    let settings: Sources = settings::from_str("{sample: {enabled: true, first: 7}}").unwrap();
    let text = scraped(&settings);
    assert!(text.contains("# HELP sample_packets_total Packets that a sample source has seen.\n"), "{text}");
    assert!(text.contains("\nsample_packets_total{direction=\"incoming\"} 7\n"), "{text}");
    assert!(text.contains("\nsample_packets_total{direction=\"outgoing\"} 8\n"), "{text}");
    assert!(!text.contains("neither"), "more series than its bound allows:\n{text}");
    assert!(text.contains("\nconnscope_source_up{source=\"sample\"} 1\n"), "{text}");
    let off: Sources = settings::from_str("{sample: }").unwrap();
    assert!(scraped(&off).contains("every source is switched off"), "it is off by default");
}

#[test]
fn a_source_brings_its_flags_and_its_check() {
    let mut settings = Sources::default();
    list::set_flag(SOURCES, &mut settings, "--sample-first", "20").unwrap();
    assert_eq!(settings.sample.first, 20);
    let refused = list::set_flag(SOURCES, &mut settings, "--sample-first", "x").unwrap_err();
    assert_eq!(refused, "is not a number");
    assert!(list::set_flag(SOURCES, &mut settings, "--other", "x").is_err());
    let (host, stop) = (Host::new(&Inventory::default()), Stop::new().unwrap());
    for spec in SOURCES {
        let checks = (spec.check)(&settings, &host, &stop);
        assert!((spec.suffices)(&settings, &checks), "{checks:?}");
    }
}

#[test]
fn a_bound_that_nobody_says_is_an_error_that_names_the_row() {
    let error = Table::of(&[&PART], &Vec::new()).unwrap_err();
    let TableError::Unbounded { metric, .. } = &error else { panic!("{error}") };
    assert_eq!(*metric, "sample.packets");
    assert_eq!(
        error.to_string(),
        "sample.packets: no bound is set for its labels direction: directions there are"
    );
}

#[test]
fn a_row_is_found_by_its_part_and_one_of_another_table_has_no_series() {
    let table = Table::of(&[&self_metrics::metrics::PART], &Vec::new()).unwrap();
    for (position, metric) in table.rows().enumerate() {
        assert_eq!(table.index(metric), Some(position), "{}", metric.name);
        assert!(table.limit(metric) > 0, "{}", metric.name);
    }
    let foreign = PART.rows.first().unwrap();
    assert_eq!((table.index(foreign), table.limit(foreign)), (None, 0));
    let twice = Table::of(&[&self_metrics::metrics::PART, &self_metrics::metrics::PART], &Vec::new());
    assert!(matches!(twice, Err(TableError::Twice { .. })), "{twice:?}");
}
