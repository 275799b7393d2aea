//! The bytes of one cycle of the history: what has changed since the cycle before it (pure).
//!
//! Most counters rest most of the time, and those that move do so by little. So a cycle is a list of the values that
//! differ, each as the distance to the position of the one before it, two bits that say how the value is written, and
//! the value:
//!
//! | bits | value |
//! |---|---|
//! | 0 | a whole number: its distance from the old one, zigzag, LEB128 |
//! | 1 | 64-bit float, little endian |
//! | 2 | none: the series has no value in this cycle |
//! | 3 | 32-bit float, little endian |

use std::slice::Iter;

/// Largest number up to which every whole number is a 64-bit float.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// What has changed between two cycles. A position beyond the end of `before` had no value.
pub(super) fn encode(before: &[f64], after: &[f64]) -> Box<[u8]> {
    let mut bytes = Vec::new();
    let mut next = 0;
    for (position, new) in after.iter().enumerate() {
        let old = before.get(position).copied().unwrap_or(f64::NAN);
        if old.to_bits() == new.to_bits() || (old.is_nan() && new.is_nan()) {
            continue;
        }
        let gap = (position - next) as u64;
        next = position + 1;
        put(&mut bytes, gap, old, *new);
    }
    bytes.into_boxed_slice()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "whole numbers below 2^53, and floats that stay the same"
)]
fn put(bytes: &mut Vec<u8>, gap: u64, old: f64, new: f64) {
    let narrow = new as f32;
    if new.is_nan() {
        varint(bytes, gap << 2 | 2);
    } else if is_whole(new) {
        let old = if is_whole(old) { old as i64 } else { 0 };
        varint(bytes, gap << 2);
        varint(bytes, zigzag(new as i64 - old));
    } else if f64::from(narrow).to_bits() == new.to_bits() {
        varint(bytes, gap << 2 | 3);
        bytes.extend_from_slice(&narrow.to_le_bytes());
    } else {
        varint(bytes, gap << 2 | 1);
        bytes.extend_from_slice(&new.to_le_bytes());
    }
}

/// Puts the values of a cycle into those of the cycle before it.
#[expect(clippy::cast_precision_loss, reason = "whole numbers below 2^53")]
#[expect(
    clippy::cast_possible_truncation,
    reason = "whole numbers below 2^53; positions that were encoded from memory"
)]
pub(super) fn apply(bytes: &[u8], values: &mut [f64]) {
    let mut bytes = bytes.iter();
    let mut position = 0usize;
    while let Some(head) = read_varint(&mut bytes) {
        position += (head >> 2) as usize;
        let old = values.get(position).copied().unwrap_or(f64::NAN);
        let new = match head & 3 {
            0 => {
                let old = if is_whole(old) { old as i64 } else { 0 };
                old.wrapping_add(unzigzag(read_varint(&mut bytes).unwrap_or_default())) as f64
            }
            1 => f64::from_le_bytes(array(&mut bytes)),
            2 => f64::NAN,
            _ => f64::from(f32::from_le_bytes(array(&mut bytes))),
        };
        if let Some(value) = values.get_mut(position) {
            *value = new;
        }
        position += 1;
    }
}

/// Whether a value can be written as a whole number; -0.0 cannot.
fn is_whole(value: f64) -> bool {
    value.abs() < WHOLE && value.fract() == 0.0 && (value != 0.0 || value.is_sign_positive())
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the low seven bits")]
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 128")]
    bytes.push(value as u8);
}

fn read_varint(bytes: &mut Iter<'_, u8>) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn array<const LENGTH: usize>(bytes: &mut Iter<'_, u8>) -> [u8; LENGTH] {
    std::array::from_fn(|_| bytes.next().copied().unwrap_or_default())
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests;
