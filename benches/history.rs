//! What the history takes: heap, counted at the allocator, time to record a cycle, and time to answer `/api/history`.

#![expect(clippy::print_stdout, reason = "it prints what it has measured")]
#![expect(clippy::disallowed_methods, reason = "it measures")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]
#![expect(unsafe_code, reason = "an allocator is unsafe")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run ends")]

use connscope::catalog::Config;
use connscope::history::query::Query;
use connscope::history::{History, LIMIT};
use connscope::host::Host;
use connscope::metric::distribution::Distribution;
use connscope::metric::{Kind, Label, Labels, Number, Table, Value};
use connscope::reading::{Reading, Snapshot};
use connscope::{agent, catalog::SOURCES, source};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

struct Counting;

static HEAP: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the layout is the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HEAP.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer is one that `alloc` has returned.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Labels of so many series, as the groups of the sockets have them.
fn labels(series: usize) -> Vec<Labels> {
    let group = |number: usize| {
        Labels::new(vec![
            (Label::Direction, "outgoing".into()),
            (Label::PeerGroup, format!("group-{number:04}").into()),
            (Label::ServerPort, "443".into()),
        ])
    };
    (0..series).map(group).collect()
}

fn measure(series: usize, moving: bool) {
    let config = Config::default();
    let bounds = source::list::bounds(SOURCES, &config.sources, &Host::new(&config.inventory));
    let table = Arc::new(Table::of(&agent::parts(), &bounds).unwrap());
    let labels = labels(series);
    let began = Instant::now();
    let before = HEAP.load(Ordering::Relaxed);
    let history = History::new(began, 1);
    let (mut recorded, mut readings, mut taken) = (Duration::ZERO, 0, 0);
    for cycle in 0..181u64 {
        let step = if moving { cycle } else { 0 };
        let mut snapshot = Snapshot::empty(&table);
        for metric in table.rows() {
            for (number, labels) in (0u64..).zip(&labels) {
                let value = match (metric.kind, metric.number) {
                    (Kind::Histogram, _) => {
                        let counts = vec![step * number; 20].into_boxed_slice();
                        let bounds: Vec<f64> = (1..20).map(f64::from).collect();
                        Value::Distribution(Arc::new(Distribution::restored(
                            bounds.into(),
                            counts,
                            step as f64 / 7.0,
                            SystemTime::UNIX_EPOCH,
                        )))
                    }
                    (Kind::RecordedHistogram, _) => continue,
                    (_, Number::U64) => Value::U64(number + step * 60),
                    (_, Number::I64) => Value::I64(0),
                    (_, Number::F64) => Value::F64(number as f64 + step as f64 / 7.0),
                };
                snapshot.take(Reading { metric, labels: labels.clone(), value });
            }
        }
        readings = snapshot.readings();
        let now = Instant::now();
        history.record(&snapshot, began + Duration::from_secs(10) * u32::try_from(cycle).unwrap());
        recorded += now.elapsed();
        drop(snapshot);
        taken = taken.max(HEAP.load(Ordering::Relaxed) - before);
    }
    let extent = history.extent();
    println!(
        "{readings} readings, {}: {:.0} KiB of heap at most (it counts {:.0}, the limit is {}), {} and {} cycles, {} left out, {:.2} ms to record a cycle",
        if moving { "all of them moving" } else { "none of them moving" },
        taken as f64 / 1024.0,
        extent.bytes as f64 / 1024.0,
        LIMIT / 1024,
        extent.cycles.0,
        extent.cycles.1,
        extent.left_out,
        recorded.as_secs_f64() * 1000.0 / 181.0
    );
    for (what, pairs) in [
        ("of=all", vec![("of", "all")]),
        ("of=series", vec![]),
        ("names=tcp.segments&top=10", vec![("names", "tcp.segments"), ("top", "10")]),
    ] {
        let pairs: Vec<_> =
            pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let query = Query::parse(&pairs).unwrap();
        let now = Instant::now();
        let text = history.answer(&query, None, began + Duration::from_mins(31), SystemTime::now());
        println!("  {what}: {:.2} ms, {} KiB", now.elapsed().as_secs_f64() * 1000.0, text.len() / 1024);
    }
}

fn main() {
    // `cargo test` runs it too, and needs no figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    for (series, moving) in [(5, false), (5, true), (25, true), (500, true)] {
        measure(series, moving);
    }
}
