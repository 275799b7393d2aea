//! A source of a dozen lines, written against the public interface: what adding one takes. Its table, its labels and
//! their bound stand with it; nothing else names it.

use connscope::export::Shared;
use connscope::export::instruments::Recorder;
use connscope::export::prometheus::{Pull, Scrape};
use connscope::metric::naming::Profile;
use connscope::metric::{Label, LabelSet, Table, TableError};
use connscope::reading::Readings;
use connscope::source::worker::Worker;
use connscope::source::{self, Source, SourceError};
use connscope::stop::Stop;
use connscope::{cycle::Sources, vitals};
use opentelemetry_sdk::Resource;
use std::sync::Arc;
use std::time::Duration;

static DIRECTION: LabelSet = LabelSet::configured(&[Label::Direction], "directions there are");

connscope::metrics! {
    /// Packets that a sample source has seen.
    SAMPLE_PACKETS: Counter<u64> = "sample.packets" in "{packet}", by [DIRECTION];
}

struct Sample;

impl Source for Sample {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        out.observe(SAMPLE_PACKETS, &[(Label::Direction, "incoming".into())], 7);
        out.observe(SAMPLE_PACKETS, &[(Label::Direction, "outgoing".into())], 8);
        out.observe(SAMPLE_PACKETS, &[(Label::Direction, "neither".into())], 9);
        Ok(())
    }
}

#[test]
fn a_source_brings_its_metrics_its_labels_and_their_bound() {
    let parts = [&PART, &source::metrics::PART, &vitals::metrics::PART];
    let bounds = vec![(&DIRECTION, 2), (&source::metrics::SOURCE, 1), (&source::metrics::NETNS, 1)];
    let table = Arc::new(Table::of(&parts, &bounds).unwrap());
    let stop = Stop::new().unwrap();
    let worker = Worker::start("sample", Duration::from_secs(5), Box::new(Sample)).unwrap();
    let shared = Shared {
        resource: Resource::builder_empty().build(),
        sources: Arc::new(Sources::of(vec![worker], table, None, &stop)),
        recorder: Recorder::default(),
    };
    let Scrape::Exposition(text) = Pull::new(&shared, Profile::Otel).unwrap().scrape() else {
        panic!("nothing was scraped")
    };
    assert!(text.contains("# HELP sample_packets_total Packets that a sample source has seen.\n"), "{text}");
    assert!(text.contains("\nsample_packets_total{direction=\"incoming\"} 7\n"), "{text}");
    assert!(text.contains("\nsample_packets_total{direction=\"outgoing\"} 8\n"), "{text}");
    assert!(!text.contains("neither"), "more series than its bound allows:\n{text}");
    assert!(text.contains("\nconnscope_source_up{source=\"sample\"} 1\n"), "{text}");
}

#[test]
fn a_bound_that_nobody_says_is_an_error_that_names_the_row() {
    let error = Table::of(&[&PART], &Vec::new()).unwrap_err();
    let TableError::Unbounded { metric, .. } = &error else { panic!("{error}") };
    assert_eq!(*metric, "sample.packets");
    assert_eq!(
        error.to_string(),
        "sample.packets: nobody says the bound of its labels direction: directions there are"
    );
}

#[test]
fn a_row_is_found_by_its_part_and_one_of_another_table_has_no_series() {
    let table = Table::of(&[&vitals::metrics::PART], &Vec::new()).unwrap();
    for (position, metric) in table.rows().enumerate() {
        assert_eq!(table.index(metric), Some(position), "{}", metric.name);
        assert!(table.limit(metric) > 0, "{}", metric.name);
    }
    let foreign = PART.rows.first().unwrap();
    assert_eq!((table.index(foreign), table.limit(foreign)), (None, 0));
    let twice = Table::of(&[&vitals::metrics::PART, &vitals::metrics::PART], &Vec::new());
    assert!(matches!(twice, Err(TableError::Twice { .. })), "{twice:?}");
}
