use super::set::SourceSet;
use super::{Cycle, Sources};
use crate::metric::{Handle, Label, Table};
use crate::reading::first::ReaderKind;
use crate::reading::{Readings, SourceError};
use crate::source::metrics::{self, CONNSCOPE_NETNS_UP};
use crate::source::worker::Worker;
use crate::source::{Source, metrics::NETNS, metrics::SOURCE};
use crate::stop::Stop;
use std::sync::Arc;
use std::time::Duration;

/// A source with so many series.
struct Series(usize);

impl Source for Series {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        for number in 0..self.0 {
            let labels = [(Label::Netns, number.to_string().into()), (Label::Source, "one".into())];
            out.observe(CONNSCOPE_NETNS_UP, &labels, 1);
        }
        Ok(())
    }
}

fn set(namespaces: usize) -> SourceSet {
    let worker = Worker::start("one", Duration::from_secs(10), Box::new(Series(300))).unwrap();
    let table = Table::of(&[&metrics::PART], &vec![(&NETNS, namespaces), (&SOURCE, 1)]).unwrap();
    SourceSet { workers: vec![Arc::new(worker)], table: Arc::new(table), self_metrics: Vec::new() }
}

/// A scrape may be in progress while a reload replaces the sources.
#[test]
fn an_instrument_gets_no_more_than_it_was_made_for_although_a_reload_has_raised_the_limit() {
    let stop = Stop::new().unwrap();
    let sources = Arc::new(Sources::new(set(100), &stop));
    let before = Cycle::new(Arc::clone(&sources), ReaderKind::Prometheus);
    let row = CONNSCOPE_NETNS_UP.metric();
    assert_eq!(before.readings(row).len(), 100);
    sources.replace(set(500));
    assert_eq!(before.readings(row).len(), 100);
    let after = Cycle::new(Arc::clone(&sources), ReaderKind::Prometheus);
    assert_eq!(after.readings(row).len(), 300);
}
