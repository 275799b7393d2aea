//! Enumerations in the kernel's types, with the names of their values (pure).

pub use super::btf::Malformed;

use super::btf::{self, ENUM, TYPE, Type};
use std::collections::BTreeMap;

/// The values of an enumeration with their names; empty if the kernel does not have it.
pub type Enumeration = BTreeMap<u32, String>;

/// Values of one enumeration that are kept.
const MAX_MEMBERS: usize = 4096;
/// Bytes of a name that are kept; identifiers in C are shorter.
const LONGEST: usize = 128;

/// Finds enumerations by their names.
///
/// # Errors
///
/// The bytes are no BTF.
pub fn parse<const N: usize>(btf: &[u8], wanted: [&str; N]) -> Result<[Enumeration; N], Malformed> {
    let [types, names] = btf::sections(btf)?.map(|section| btf.get(section).unwrap_or_default());
    let mut found = [const { Enumeration::new() }; N];
    let mut rest = types;
    while !rest.is_empty() {
        let (this, others) = Type::split(rest)?;
        rest = others;
        if this.kind() != ENUM {
            continue;
        }
        let called = btf::name(names, this.index(0));
        let Some(place) = wanted.iter().position(|wanted| wanted.as_bytes() == called) else { continue };
        let Some(values) = found.get_mut(place).filter(|values| values.is_empty()) else { continue };
        for member in (TYPE..this.bytes().len()).step_by(8).take(MAX_MEMBERS) {
            let called = btf::name(names, this.index(member));
            values.insert(this.word(member + 4), crate::text::bounded_bytes(called, LONGEST));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
