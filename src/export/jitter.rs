//! Random delays, so that agents that were started together, or lost their receiver together, do not push together.
//!
//! The time of the first push is random and not derived from the machine: cloned machines have the same `machine-id`,
//! and numbered ones have similar names.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A random number, different in each call.
pub fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// A fraction of `most`, in [0, `most`); `random` is any number.
pub fn part(most: Duration, random: u64) -> Duration {
    let nanoseconds = (most.as_nanos() * u128::from(random)) >> u64::BITS;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{part, random};
    use std::collections::BTreeSet;
    use std::time::Duration;

    #[test]
    fn ten_thousand_agents_spread_evenly_over_the_interval() {
        let interval = Duration::from_secs(10);
        let mut seconds = [0; 10];
        for _ in 0..10_000 {
            seconds[usize::try_from(part(interval, random()).as_secs()).unwrap()] += 1;
        }
        // The standard deviation of each is 30, so the bounds are seven of them.
        assert!(seconds.iter().all(|&agents| (790..1210).contains(&agents)), "{seconds:?}");
    }

    #[test]
    fn a_part_is_never_the_whole_and_no_jitter_is_none() {
        let day = Duration::from_hours(24);
        assert_eq!(part(day, 0), Duration::ZERO);
        assert!(part(day, u64::MAX) < day);
        assert_eq!(part(day, 1 << 63), day / 2);
        assert_eq!(part(Duration::ZERO, u64::MAX), Duration::ZERO);
    }

    #[test]
    fn no_two_agents_have_the_same_chance() {
        let numbers: BTreeSet<u64> = (0..1000).map(|_| random()).collect();
        assert_eq!(numbers.len(), 1000);
    }
}
