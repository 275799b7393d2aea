//! The format of types, BTF (pure).
//!
//! `include/uapi/linux/btf.h`: a header, types one behind the other, and their names. A type is 12 bytes (name, kind and number of
//! members, size or type), and what its kind has behind them. Numbers are in the order of the machine. The first type is
//! number 1; 0 is `void`.

use std::ops::Range;

/// `BTF_MAGIC`.
const MAGIC: u16 = 0xeb9f;
/// A type without what its kind has behind it.
pub(super) const TYPE: usize = 12;
/// Where the header has the length of all types.
pub(super) const TYPES_LENGTH: usize = 12;

/// `BTF_KIND_ARRAY`.
pub(super) const ARRAY: u32 = 3;
/// `BTF_KIND_STRUCT`.
pub(super) const STRUCT: u32 = 4;
/// `BTF_KIND_UNION`.
pub(super) const UNION: u32 = 5;
/// `BTF_KIND_ENUM`.
pub(super) const ENUM: u32 = 6;
/// `BTF_KIND_FWD`.
pub(super) const FORWARD: u32 = 7;
/// `BTF_KIND_TYPEDEF`.
pub(super) const TYPEDEF: u32 = 8;
/// `BTF_KIND_VOLATILE`.
pub(super) const VOLATILE: u32 = 9;
/// `BTF_KIND_CONST`.
pub(super) const CONST: u32 = 10;
/// `BTF_KIND_RESTRICT`.
pub(super) const RESTRICT: u32 = 11;
/// `BTF_KIND_FUNC_PROTO`.
pub(super) const FUNCTION: u32 = 13;
/// `BTF_KIND_DATASEC`.
pub(super) const SECTION: u32 = 15;
/// `BTF_KIND_TYPE_TAG`.
pub(super) const TAG: u32 = 18;
/// `BTF_KIND_ENUM64`.
pub(super) const ENUM64: u32 = 19;

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

/// Where the types and their names are.
pub(super) fn sections(btf: &[u8]) -> Result<[Range<usize>; 2], Malformed> {
    let magic = btf.first_chunk().copied().map(u16::from_ne_bytes).ok_or(Malformed::CutOff)?;
    if magic != MAGIC {
        return Err(Malformed::Magic);
    }
    let header = size(btf, 4)?;
    let section = |at| {
        let start = header.checked_add(size(btf, at)?).ok_or(Malformed::CutOff)?;
        let end = start.checked_add(size(btf, at + 4)?).ok_or(Malformed::CutOff)?;
        btf.get(start..end).map(|_| start..end).ok_or(Malformed::CutOff)
    };
    Ok([section(8)?, section(16)?])
}

/// The name at a place, without its zero byte.
pub(super) fn name(names: &[u8], at: usize) -> &[u8] {
    crate::text::before_zero(names.get(at..).unwrap_or_default())
}

/// A type, with what its kind has behind it.
#[derive(Clone, Copy)]
pub(super) struct Type<'a>(&'a [u8]);

impl<'a> Type<'a> {
    /// The first of these types, and the others.
    pub(super) fn split(types: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let info = number(types, 4)?;
        let (kind, members) = (info >> 24 & 31, usize::try_from(info & 0xffff).unwrap_or_default());
        let behind = match kind {
            1 | 14 | 17 => 4,
            ARRAY => 12,
            STRUCT | UNION | SECTION | ENUM64 => 12 * members,
            ENUM | FUNCTION => 8 * members,
            2 | FORWARD..=12 | 16 | TAG => 0,
            _ => return Err(Malformed::Kind(kind)),
        };
        let (this, rest) = types.split_at_checked(TYPE + behind).ok_or(Malformed::CutOff)?;
        Ok((Self(this), rest))
    }

    /// All of its bytes.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The number at a place; 0 behind its end.
    pub(super) fn word(self, at: usize) -> u32 {
        number(self.0, at).unwrap_or_default()
    }

    /// The number at a place, as an index.
    pub(super) fn index(self, at: usize) -> usize {
        size(self.0, at).unwrap_or_default()
    }

    pub(super) fn kind(self) -> u32 {
        self.word(4) >> 24 & 31
    }
}
