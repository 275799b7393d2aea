//! One collection by one reader: how often the sources are asked, and what a source that misbehaves does to the rest.

use crate::support::table::table;
use crate::support::{Script, sample};
use connscope::catalog::Config;
use connscope::cycle::Sources;
use connscope::export::instruments::HistogramRecorder;
use connscope::export::prometheus::{Pull, Scrape};
use connscope::export::{Reader, Shared};
use connscope::metric::Label;
use connscope::metric::naming::Profile;
use connscope::reading::first::ReaderKind;
use connscope::reading::{FirstPoint, Readings, SourceError};
use connscope::source::Source;
use connscope::source::conntrack::Conntrack;
use connscope::source::conntrack::config::{Conntrack as Settings, Via};
use connscope::source::conntrack::metrics;
use connscope::source::worker::Worker;
use connscope::stop::Stop;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Long enough for a busy machine; only what is meant to be late waits for it.
const DEADLINE: Duration = Duration::from_secs(2);

/// A source made of a function.
struct Fake<F>(F);

impl<F: FnMut(&mut Readings) -> Result<(), SourceError> + Send> Source for Fake<F> {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        self.0(out)
    }
}

fn worker(
    name: &'static str,
    read: impl FnMut(&mut Readings) -> Result<(), SourceError> + Send + 'static,
) -> Worker {
    Worker::start(name, DEADLINE, Box::new(Fake(read))).unwrap()
}

fn shared(workers: Vec<Worker>) -> Shared {
    let sources = Sources::of(workers, table(2, 1), None, &Stop::new().unwrap());
    Shared {
        resource: Resource::builder_empty().build().into(),
        sources: Arc::new(sources),
        recorder: HistogramRecorder::default(),
    }
}

fn good(out: &mut Readings) {
    out.observe(metrics::CONNTRACK_DROP, &[(Label::Cpu, "0".into())], 7);
}

fn exposition(scrape: Scrape) -> String {
    match scrape {
        Scrape::Exposition(text) => text,
        Scrape::Nothing(why) => panic!("nothing could be collected: {why}"),
    }
}

/// An exporter that keeps the sum of `conntrack.found` of every collection it is given.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u64>>>);

impl PushMetricExporter for Kept {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let found = metrics
            .scope_metrics()
            .flat_map(|scope| scope.metrics())
            .find(|metric| metric.name() == "conntrack.found")
            .map_or(0, |metric| match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    sum.data_points().map(|point| point.value()).sum()
                }
                other => panic!("{other:?}"),
            });
        self.0.lock().unwrap().push(found);
        Ok(())
    }
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// `conntrack -S` runs once in a cycle: a wrapper on the path counts its runs and prints as `found` how often it ran,
/// begun shortly before the kernel's 32 bits are full.
#[test]
fn conntrack_runs_once_in_a_cycle_with_both_readers_at_work() {
    let script = Script::new(
        "echo run >> $DIR/runs\n\
         n=$(( (4294967290 + $(wc -l < $DIR/runs)) % 4294967296 ))\n\
         printf 'cpu=0   \\tfound=%u invalid=0 drop=0 \\ncpu=1   \\tfound=5 invalid=0 drop=0 \\n' $n",
    );
    std::fs::write(script.file("runs"), "").unwrap();
    let settings =
        Settings { via: Via::Command, command: script.path(), ..Config::default().sources.conntrack };
    let source = Conntrack::new(&settings, &Stop::new().unwrap());
    let workers = vec![Worker::start("conntrack", Duration::from_secs(5), Box::new(source)).unwrap()];
    let shared = shared(workers);
    let kept = Kept::default();
    let push = PeriodicReader::builder(kept.clone()).with_interval(Duration::from_millis(15)).build();
    let push = Reader::new(&shared, shared.cycle(ReaderKind::Otlp), push, Profile::Otel, false);
    let pull = Pull::new(&shared, Profile::Otel).unwrap();
    let scraped = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut before = 0.0;
                for _ in 0..25 {
                    let text = exposition(pull.scrape());
                    let found = sample(&text, r#"conntrack_found_total{cpu="0"}"#).unwrap();
                    assert!(found > before, "a scrape saw {found} after {before}");
                    before = found;
                    assert_eq!(sample(&text, r#"conntrack_found_total{cpu="1"}"#), Some(5.0));
                    scraped.lock().unwrap().push(found);
                }
            });
        }
    });
    push.provider.shutdown().unwrap();
    let runs = std::fs::read_to_string(script.file("runs")).unwrap().lines().count();
    let pushed = kept.0.lock().unwrap().clone();
    let scraped = scraped.into_inner().unwrap();
    assert_eq!(scraped.len(), 75);
    assert!(pushed.len() >= 3, "the readers did not overlap: {pushed:?}");
    assert_eq!(runs, pushed.len() + scraped.len(), "one run a cycle");
    assert!(pushed.is_sorted_by(|before, after| before < after), "{pushed:?}");
    // Every run was seen by one reader alone, and none twice.
    let mut seen: Vec<u64> = pushed.iter().map(|found| found - 5).collect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers of 33 bits")]
    seen.extend(scraped.iter().map(|found| *found as u64));
    seen.sort_unstable();
    let every: Vec<u64> = (4_294_967_291..).take(runs).collect();
    assert_eq!(seen, every, "unwrapped past 32 bits, without a gap");
}

#[test]
fn each_reader_gets_the_first_point_of_a_series_and_a_cycle_of_no_reader_takes_none() {
    let mut first = FirstPoint::default();
    let counts = worker("counts", move |out| {
        let value = if first.is_due(out.readers()) { 0 } else { 5 };
        out.observe(metrics::CONNTRACK_FOUND, &[(Label::Cpu, "0".into())], value);
        Ok(())
    });
    let shared = shared(vec![counts]);
    let kept = Kept::default();
    let push = PeriodicReader::builder(kept.clone()).with_interval(Duration::from_hours(1)).build();
    let push = Reader::new(&shared, shared.cycle(ReaderKind::Otlp), push, Profile::Otel, false);
    let pull = Pull::new(&shared, Profile::Otel).unwrap();
    shared.sources.try_all();
    let scrape = |pull: &Pull| sample(&exposition(pull.scrape()), r#"conntrack_found_total{cpu="0"}"#);
    assert_eq!([(); 2].map(|()| scrape(&pull)), [Some(0.0), Some(5.0)]);
    push.provider.force_flush().unwrap();
    push.provider.force_flush().unwrap();
    assert_eq!(*kept.0.lock().unwrap(), [0, 5]);
    // One that takes the place of another, as after a reload, goes on with its series.
    drop(pull);
    assert_eq!(scrape(&Pull::new(&shared, Profile::Otel).unwrap()), Some(5.0));
    push.provider.shutdown().unwrap();
}

#[test]
fn sources_that_hang_panic_or_talk_nonsense_leave_the_rest_running() {
    let garbage = Script::printing("one two three\n");
    let settings =
        Settings { via: Via::Command, command: garbage.path(), ..Config::default().sources.conntrack };
    let mut nonsense = Conntrack::new(&settings, &Stop::new().unwrap());
    let workers = vec![
        worker("hangs", |_| {
            loop {
                std::thread::sleep(Duration::from_hours(1));
            }
        }),
        worker("panics", |out| {
            good(out);
            panic!("as planned")
        }),
        worker("nonsense", move |out| nonsense.read(out)),
        worker("good", |out| {
            good(out);
            Ok(())
        }),
    ];
    let shared = shared(workers);
    let pull = Pull::new(&shared, Profile::Otel).unwrap();
    for round in 1..=3 {
        let started = Instant::now();
        let text = exposition(pull.scrape());
        assert!(started.elapsed() < DEADLINE * 3, "{:?}", started.elapsed());
        assert_eq!(sample(&text, r#"conntrack_drop_total{cpu="0"}"#), Some(7.0), "{text}");
        for (source, up, reason) in [
            ("hangs", 0.0, "timeout"),
            ("panics", 0.0, "panicked"),
            ("nonsense", 0.0, "parse"),
            ("good", 1.0, ""),
        ] {
            let series = format!(r#"connscope_source_up{{source="{source}"}}"#);
            assert_eq!(sample(&text, &series), Some(up), "{source}");
            if !reason.is_empty() {
                let series =
                    format!(r#"connscope_source_errors_total{{reason="{reason}",source="{source}"}}"#);
                assert_eq!(sample(&text, &series), Some(f64::from(round)), "{source}");
            }
        }
    }
    // Once it is known that it hangs, nobody waits for it any more: not a scrape, and not the end of the readers.
    let started = Instant::now();
    exposition(pull.scrape());
    drop(pull);
    drop(shared);
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
}

#[test]
fn a_slow_source_serves_every_reader_in_turn() {
    let slow = worker("slow", |out| {
        std::thread::sleep(DEADLINE * 3 / 4);
        good(out);
        Ok(())
    });
    let shared = shared(vec![slow]);
    let pulls = [Pull::new(&shared, Profile::Otel).unwrap(), Pull::new(&shared, Profile::Otel).unwrap()];
    std::thread::scope(|scope| {
        for pull in &pulls {
            scope.spawn(|| {
                let text = exposition(pull.scrape());
                assert_eq!(sample(&text, r#"connscope_source_up{source="slow"}"#), Some(1.0));
            });
        }
    });
}

#[test]
fn a_source_that_comes_back_is_read_again() {
    let mut asked = 0;
    let flaky = worker("flaky", move |out| {
        asked += 1;
        if asked == 2 {
            std::thread::sleep(DEADLINE * 2);
        }
        good(out);
        Ok(())
    });
    let shared = shared(vec![flaky]);
    let pull = Pull::new(&shared, Profile::Otel).unwrap();
    exposition(pull.scrape());
    let Scrape::Nothing(why) = pull.scrape() else { panic!("the late answer was waited for") };
    assert!(why.contains("flaky: timeout"), "{why}");
    // The late answer belongs to a cycle that is over, and is not taken for the answer to the next question.
    std::thread::sleep(DEADLINE * 2);
    let text = exposition(pull.scrape());
    assert_eq!(sample(&text, r#"connscope_source_up{source="flaky"}"#), Some(1.0));
}

#[test]
fn series_that_vanish_from_the_source_vanish_from_both_readers() {
    let mut asked = 0;
    let changing = worker("changing", move |out| {
        asked += 1;
        let cpu = if asked <= 2 { "0" } else { "1" };
        out.observe(metrics::CONNTRACK_DROP, &[(Label::Cpu, cpu.into())], 1);
        Ok(())
    });
    let shared = shared(vec![changing]);
    let first = Pull::new(&shared, Profile::Otel).unwrap();
    let second = Pull::new(&shared, Profile::Otel).unwrap();
    for pull in [&first, &second] {
        let text = exposition(pull.scrape());
        assert_eq!(sample(&text, r#"conntrack_drop_total{cpu="0"}"#), Some(1.0));
    }
    for pull in [&first, &second] {
        let text = exposition(pull.scrape());
        assert_eq!(
            sample(&text, r#"conntrack_drop_total{cpu="0"}"#),
            None,
            "a series that is gone came back"
        );
        assert_eq!(sample(&text, r#"conntrack_drop_total{cpu="1"}"#), Some(1.0));
    }
}

#[test]
fn more_series_than_the_limit_are_left_out_and_counted() {
    let many = worker("many", |out| {
        for cpu in 0..1500 {
            out.observe(metrics::CONNTRACK_DROP, &[(Label::Cpu, cpu.to_string().into())], 1);
        }
        Ok(())
    });
    let shared = shared(vec![many]);
    let pull = Pull::new(&shared, Profile::Otel).unwrap();
    let text = exposition(pull.scrape());
    let series = text.lines().filter(|line| line.starts_with("conntrack_drop_total{")).count();
    assert_eq!(series, 1024);
    assert!(!text.contains("overflow"), "the SDK's overflow series holds a wrong number");
    assert_eq!(sample(&text, "connscope_readings_left_out_total"), Some(476.0));
}

#[test]
fn cpus_are_printed_in_the_order_of_their_numbers() {
    let many = worker("many", |out| {
        for cpu in [10, 2, 0, 1, 11] {
            out.observe(metrics::CONNTRACK_DROP, &[(Label::Cpu, cpu.to_string().into())], 1);
        }
        Ok(())
    });
    let shared = shared(vec![many]);
    let pull = Pull::new(&shared, Profile::Classic).unwrap();
    let expected = "# HELP conntrack_drop Total of conntrack drop\n# TYPE conntrack_drop counter\n\
                    conntrack_drop{cpu=\"0\"} 1\nconntrack_drop{cpu=\"1\"} 1\nconntrack_drop{cpu=\"2\"} 1\n\
                    conntrack_drop{cpu=\"10\"} 1\nconntrack_drop{cpu=\"11\"} 1\n";
    assert_eq!(exposition(pull.scrape()), expected);
}

#[test]
fn a_console_that_does_not_collect_is_overdue() {
    let shared = shared(Vec::new());
    let (interval, grace) = (Duration::from_hours(1), Duration::from_mins(2));
    let now = Instant::now();
    // It would print a last cycle.
    std::mem::forget(connscope::export::stdout::console(&shared, interval));
    assert!(!shared.sources.overdue(now + interval, grace));
    assert!(shared.sources.overdue(now + interval + grace * 2, grace));
}
