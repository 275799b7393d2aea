//! The text of a control group's file: whole lines, and the numbers in them (pure).
//!
//! The kernel ends every line. A line without its end was cut off, and so was the number in it.

/// Lines that are whole.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

/// The number after a word that begins a line: `nr_periods 12`.
pub(super) fn number(text: &str, word: &str) -> Option<u64> {
    lines(text).find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The number that is all of the first line.
pub(super) fn single(text: &str) -> Option<u64> {
    lines(text).next()?.trim().parse().ok()
}

/// Number of a block device, `8:16`, and what is behind it in the line.
pub(super) fn device(line: &str) -> Option<((u32, u32), &str)> {
    let (number, rest) = line.split_once(' ')?;
    let (major, minor) = number.split_once(':')?;
    Some(((major.parse().ok()?, minor.parse().ok()?), rest))
}
