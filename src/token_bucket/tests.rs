//! Tests of the token bucket.

use super::*;
use std::time::Duration;

#[test]
fn as_many_as_the_burst_at_once_and_then_as_many_as_come() {
    #[expect(clippy::disallowed_methods, reason = "a beginning for times that are made")]
    let began = Instant::now();
    let mut bucket = TokenBucket::full(10.0, 3.0);
    let mut taken =
        |at: u64, times: usize| (0..times).filter(|_| bucket.take(began + Duration::from_millis(at))).count();
    assert_eq!(taken(0, 9), 3);
    assert_eq!(taken(50, 9), 0);
    assert_eq!(taken(100, 9), 1);
    // Half a token is kept, and no more than the burst.
    assert_eq!(taken(250, 9), 1);
    assert_eq!(taken(300, 9), 1);
    assert_eq!(taken(60_000, 9), 3);
    // A clock that steps back takes nothing away.
    assert_eq!(taken(0, 9), 0);
}
