//! Start times when the machine's clock is set.

use connscope::export::start_time::{Clocks, StartTimes};

const HOUR: u64 = 3600;

fn clocks(real: u64, boot: u64) -> Clocks {
    Clocks { real, boot }
}

#[test]
fn a_start_is_moved_with_a_clock_that_is_set_back_and_stays_there() {
    let mut times = StartTimes::new(clocks(100_000, 10));
    let start = 100_001;
    assert_eq!(times.corrected(start, 100_060, clocks(100_060, 70)), start, "nothing was set");
    // An hour back, 60 s later.
    let now = 100_120 - HOUR;
    assert_eq!(times.corrected(start, now, clocks(now, 130)), start - HOUR);
    // A clock that is adjusted a little at a time moves it no more: another start would mean a counter that was reset.
    assert_eq!(times.corrected(start, now + 7, clocks(now + 7, 140)), start - HOUR);
    // What began after the clock was set does not begin after its point either.
    assert_eq!(times.corrected(now + 10, now + 60, clocks(now + 60, 190)), now + 10 - HOUR);
    // Once more, a day.
    let now = now - 24 * HOUR;
    assert_eq!(times.corrected(start, now, clocks(now, 250)), now - 239);
    // And forward: the start stays.
    let later = 200_000;
    assert_eq!(times.corrected(start, later, clocks(later, 300)), now - 239);
}

#[test]
fn a_start_from_before_the_machine_slept_is_as_long_ago_as_the_boot_clock_says() {
    let mut times = StartTimes::new(clocks(50_000, 1_000));
    // It slept for an hour, which the boot clock counts, and woke up with a clock two hours late.
    let now = 50_000 + HOUR + 60 - 2 * HOUR;
    assert_eq!(times.corrected(50_010, now, clocks(now, 1_000 + HOUR + 60)), now - HOUR - 50);
}

#[test]
fn a_start_that_nobody_knows_is_left_alone_and_none_is_after_its_point() {
    let mut times = StartTimes::new(clocks(1_000, 0));
    assert_eq!(times.corrected(0, 5, clocks(5, 1)), 0);
    assert_eq!(times.corrected(7, 0, clocks(5, 1)), 7);
    for (real, boot) in [(900, 1), (10, 2), (1, 3), (5_000, 4), (3, 9)] {
        assert!(times.corrected(1_000, real, clocks(real, boot)) <= real);
    }
}
