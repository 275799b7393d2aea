//! Rates, resets and quantiles of consecutive readings.

use super::super::exposition::{MOST_SERIES, Names, parse};
use super::{Frame, History, add};
use crate::agent;
use crate::metric::buckets::quantile;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// A reading of a text, so many seconds after the first.
pub(in crate::cli::top) fn frame(began: Instant, seconds: u64, text: &str) -> Frame {
    Frame {
        at: began + Duration::from_secs(seconds),
        clock: UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds),
        version: "1.2.3".to_owned(),
        exposition: parse(text, &Names::of(&agent::parts()), MOST_SERIES),
        sources: Vec::new(),
        warnings: Vec::new(),
    }
}

/// The history of these texts, a second apart.
#[expect(clippy::disallowed_methods, reason = "any time will do")]
pub(in crate::cli::top) fn history(texts: &[&str]) -> History {
    let began = Instant::now();
    let mut history = History::default();
    for (seconds, text) in (0..).zip(texts) {
        history.push(frame(began, seconds, text));
    }
    history
}

fn found(history: &History) -> (Option<f64>, Option<f64>, u64) {
    let series = &history.now.as_ref().unwrap().exposition.families["conntrack.found"].series[0];
    (series.rate, series.slow_rate, series.increased)
}

#[test]
fn rates_are_over_the_time_since_the_reading_before() {
    let texts: Vec<String> =
        [10, 20, 25, 25, 3].map(|value| format!("conntrack_found_total {value}\n")).into();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(found(&history(&texts[..1])), (None, None, 0), "one reading has no rate");
    assert_eq!(found(&history(&texts[..2])), (Some(10.0), Some(10.0), 2));
    assert_eq!(found(&history(&texts[..3])), (Some(5.0), Some(7.5), 3));
    assert_eq!(found(&history(&texts[..4])), (Some(0.0), Some(5.0), 3));
    assert_eq!(found(&history(&texts)), (None, None, 3), "a reset is no rate");
}

#[test]
fn slow_rates_are_over_the_last_10_to_20_seconds() {
    let texts: Vec<String> = (0..40)
        .map(|second| format!("conntrack_found_total {}\n", if second < 20 { 0 } else { 100 }))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let slow = |count: usize| found(&history(&texts[..count])).1.unwrap();
    assert!(slow(20) < 1e-9 && slow(21) >= 5.0 && slow(21) <= 10.0, "{}", slow(21));
    assert!(slow(40) < 1e-9, "what is longer ago than 20 s is forgotten");
}

#[test]
fn quantiles_are_interpolated_as_prometheus_does() {
    let buckets = vec![(0.1, 0.0), (0.2, 10.0), (0.4, 10.0), (f64::INFINITY, 20.0)];
    assert!((quantile(&buckets, 0.25).unwrap() - 0.15).abs() < 1e-9);
    assert_eq!(quantile(&buckets, 0.5), Some(0.2));
    assert_eq!(quantile(&buckets, 0.99), Some(0.4), "the last bucket has no end");
    assert_eq!(quantile(&[(1.0, 0.0)], 0.5), None);
    assert_eq!(quantile(&Vec::new(), 0.5), None);
    let mut sum = Vec::new();
    add(&mut sum, &buckets);
    add(&mut sum, &buckets);
    assert_eq!(sum[1], (0.2, 20.0));
    add(&mut sum, &vec![(9.0, 9.0)]);
    assert_eq!(sum[1], (0.2, 20.0), "other bounds cannot be added");
}
