//! Round trips of echoes, when the clock of the kernel's time stamps is set meanwhile.

use connscope::host::icmp::ElapsedTimes;
use std::time::Duration;

const fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

#[test]
fn a_round_trip_is_by_the_stamps_of_the_kernel_where_their_clock_was_not_set() {
    let took = ElapsedTimes { monotonic: us(500), clock: Some(us(520)) };
    assert_eq!(took.bound(Some(us(300))), us(300));
    assert_eq!(took.bound(None), us(500), "without stamps");
    assert_eq!(took.bound(Some(us(501))), us(500), "never longer than this process waited");
}

#[test]
fn a_round_trip_is_by_the_monotonic_clock_where_the_other_was_set() {
    let hour = Duration::from_hours(1);
    // Forward, between the request and the answer.
    let forward = ElapsedTimes { monotonic: us(500), clock: Some(hour) };
    assert_eq!(forward.bound(Some(hour)), us(500));
    // Forward, between the answer and the look at the clock: the stamps are right, and cannot be known to be.
    assert_eq!(forward.bound(Some(us(300))), us(500));
    // Back.
    let back = ElapsedTimes { monotonic: us(500), clock: None };
    assert_eq!(back.bound(None), us(500));
    assert_eq!(back.bound(Some(us(300))), us(500));
    // Back by less than it took.
    let little = ElapsedTimes { monotonic: us(50_000), clock: Some(us(40_000)) };
    assert_eq!(little.bound(Some(us(39_000))), us(50_000));
}
