//! Enumerations in the kernel's types, with the names of their values (pure).
//!
//! `include/uapi/linux/btf.h`: a header, types one behind the other, and their names. A type is 12 bytes (name, kind and number of
//! members, size or type), and what its kind has behind them. Numbers are in the order of the machine.

use std::collections::BTreeMap;

/// The values of an enumeration with their names; empty if the kernel does not have it.
pub type Enumeration = BTreeMap<u32, String>;

/// `BTF_MAGIC`.
const MAGIC: u16 = 0xeb9f;
/// `BTF_KIND_ENUM`.
const ENUM: u32 = 6;
/// A type without what its kind has behind it.
const TYPE: usize = 12;
/// Values of one enumeration that are kept.
const MAX_MEMBERS: usize = 4096;
/// Bytes of a name that are kept; identifiers in C are shorter.
const LONGEST: usize = 128;

/// Why the types could not be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The text ends within the header or a type.
    #[error("the types are cut off")]
    CutOff,
    /// They begin with something else.
    #[error("it does not begin as BTF does")]
    Magic,
    /// A kind that is not known, so that what follows it cannot be found.
    #[error("kind {0} is unknown")]
    Kind(u32),
}

fn number(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    let end = at.checked_add(4).ok_or(Malformed::CutOff)?;
    let word = bytes.get(at..end).and_then(|word| word.try_into().ok());
    word.map(u32::from_ne_bytes).ok_or(Malformed::CutOff)
}

fn size(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    usize::try_from(number(bytes, at)?).map_err(|_| Malformed::CutOff)
}

/// The name at a place, without its zero byte.
fn name(names: &[u8], at: usize) -> &[u8] {
    crate::text::before_zero(names.get(at..).unwrap_or_default())
}

/// Finds enumerations by their names.
///
/// # Errors
///
/// The bytes are no BTF.
pub fn parse<const N: usize>(btf: &[u8], wanted: [&str; N]) -> Result<[Enumeration; N], Malformed> {
    let magic = btf.first_chunk().copied().map(u16::from_ne_bytes).ok_or(Malformed::CutOff)?;
    if magic != MAGIC {
        return Err(Malformed::Magic);
    }
    let header = size(btf, 4)?;
    let section = |at| {
        let start = header.checked_add(size(btf, at)?).ok_or(Malformed::CutOff)?;
        let end = start.checked_add(size(btf, at + 4)?).ok_or(Malformed::CutOff)?;
        btf.get(start..end).ok_or(Malformed::CutOff)
    };
    let (mut types, names) = (section(8)?, section(16)?);
    let mut found = [const { Enumeration::new() }; N];
    while !types.is_empty() {
        let info = number(types, 4)?;
        let (kind, members) = (info >> 24 & 31, usize::try_from(info & 0xffff).unwrap_or_default());
        let behind = match kind {
            1 | 14 | 17 => 4,
            3 => 12,
            4 | 5 | 15 | 19 => 12 * members,
            ENUM | 13 => 8 * members,
            2 | 7..=12 | 16 | 18 => 0,
            _ => return Err(Malformed::Kind(kind)),
        };
        let (this, rest) = types.split_at_checked(TYPE + behind).ok_or(Malformed::CutOff)?;
        types = rest;
        if kind != ENUM {
            continue;
        }
        let called = name(names, size(this, 0)?);
        let Some(place) = wanted.iter().position(|wanted| wanted.as_bytes() == called) else { continue };
        let Some(values) = found.get_mut(place).filter(|values| values.is_empty()) else { continue };
        for member in (TYPE..this.len()).step_by(8).take(MAX_MEMBERS) {
            let called = name(names, size(this, member)?);
            values.insert(number(this, member + 4)?, crate::text::bounded_bytes(called, LONGEST));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
