//! Tests of the ring.

#![expect(clippy::float_cmp, reason = "the numbers compared are whole")]

use super::*;

fn seconds(seconds: u64) -> Stamp {
    Stamp { number: u32::try_from(seconds).unwrap(), at: Duration::from_secs(seconds) }
}

/// Time and value of a position in each cycle.
fn values(ring: &Ring, position: usize) -> Vec<(u64, f64)> {
    let mut found = Vec::new();
    ring.share().each(|stamp, values| found.push((stamp.at.as_secs(), values[position])));
    found
}

#[test]
fn every_cycle_of_the_last_half_hour_comes_back_and_no_older_one() {
    let mut ring = Ring::new(usize::MAX);
    for number in 0..400u32 {
        ring.push(seconds(u64::from(number) * 10), vec![f64::from(number), f64::from(number) / 3.0], 0);
    }
    let expected: Vec<(u64, f64)> =
        (219..400u32).map(|number| (u64::from(number) * 10, f64::from(number))).collect();
    assert_eq!(values(&ring, 0), expected);
    assert_eq!(values(&ring, 1).last(), Some(&(3990, 133.0)));
}

#[test]
fn cycles_that_follow_closely_replace_each_other_and_the_newest_is_always_there() {
    let mut ring = Ring::new(usize::MAX);
    for number in 0..100u32 {
        ring.push(seconds(u64::from(number)), vec![f64::from(number)], 0);
        assert_eq!(values(&ring, 0).last(), Some(&(u64::from(number), f64::from(number))));
    }
    let times: Vec<u64> = values(&ring, 0).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times[..3], [0, 5, 10]);
    assert_eq!(times.len(), 21, "{times:?}");
}

#[test]
fn at_the_limit_the_oldest_go_and_the_rest_is_right() {
    let mut ring = Ring::new(64 * 1024);
    for cycle in 0..150u32 {
        let values = (0..1000u32).map(|number| f64::from(cycle * number)).collect();
        ring.push(seconds(u64::from(cycle) * 10), values, 10_000);
        assert!(ring.bytes() + 10_000 <= 64 * 1024, "{}", ring.bytes());
    }
    let found = values(&ring, 7);
    assert!(found.len() > 5 && found.len() < 20, "{found:?}");
    assert!(
        found.iter().all(|(at, value)| *value == f64::from(u32::try_from(at / 10 * 7).unwrap())),
        "{found:?}"
    );
    // One that fits nowhere is kept alone.
    ring.push(seconds(10_000), vec![1.0; 100_000], 0);
    assert_eq!(ring.len(), 1);
}

#[test]
fn a_series_that_comes_later_has_no_value_before() {
    let mut ring = Ring::new(usize::MAX);
    ring.push(seconds(0), vec![1.0], 0);
    ring.push(seconds(10), vec![1.0, 5.0], 0);
    ring.push(seconds(20), vec![f64::NAN, 5.0], 0);
    let (first, second) = (values(&ring, 0), values(&ring, 1));
    assert!(first[1].1 == 1.0 && first[2].1.is_nan(), "{first:?}");
    assert!(second[0].1.is_nan() && second[1].1 == 5.0 && second[2].1 == 5.0, "{second:?}");
}
