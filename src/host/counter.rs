//! Counters of the kernel that have 32 bits (pure).

/// Number of values of a 32-bit counter.
pub const WIDTH: u64 = 1 << 32;

/// The increase of a counter from `last` to `now`, including a wrap. A value wider than 32 bits cannot have wrapped.
pub fn step(last: u64, now: u64) -> u64 {
    if now >= last { now - last } else { (now + WIDTH).saturating_sub(last) }
}
