//! Tests of the bytes of a cycle.

use super::*;
use proptest::prelude::*;

fn same(left: &[f64], right: &[f64]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan()))
}

/// What `after` becomes if it is written and read again.
fn there_and_back(before: &[f64], after: &[f64]) -> (usize, Vec<f64>) {
    let bytes = encode(before, after);
    let mut values = before.to_vec();
    values.resize(after.len(), f64::NAN);
    apply(&bytes, &mut values);
    (bytes.len(), values)
}

#[test]
fn what_does_not_change_takes_nothing_and_a_counter_two_bytes() {
    let before: Vec<f64> = (0..1000).map(|number| f64::from(number) * 1e6).collect();
    assert_eq!(there_and_back(&before, &before).0, 0);
    let mut after = before.clone();
    after[500] += 60.0;
    after[501] += 60.0;
    let (bytes, values) = there_and_back(&before, &after);
    assert_eq!((bytes, values), (3 + 2, after));
}

#[test]
fn odd_values_come_back_as_they_were() {
    let odd = [
        0.0,
        -0.0,
        f64::NAN,
        f64::INFINITY,
        f64::MIN,
        f64::MAX,
        0.1,
        0.5,
        -3.0,
        1e300,
        9_007_199_254_740_993.0,
    ];
    for first in odd {
        for second in odd {
            let (_, values) = there_and_back(&[first], &[second, first]);
            assert!(same(&values, &[second, first]), "{first} {second}: {values:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_values_come_back(
        before in prop::collection::vec(any::<f64>(), 0..50),
        after in prop::collection::vec(any::<f64>(), 50..60),
    ) {
        let (_, values) = there_and_back(&before, &after);
        prop_assert!(same(&values, &after));
    }

    #[test]
    fn bytes_that_nobody_wrote_change_nothing_beyond_the_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut values = vec![1.0; 20];
        apply(&bytes, &mut values);
        prop_assert_eq!(values.len(), 20);
    }
}
