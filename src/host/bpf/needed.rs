//! The kernel's types without those that an object does not use (pure).
//!
//! Programs are relocated by the structures, unions and enumerations that their object names, and what these contain. A kernel
//! has tens of thousands of others; comparing each with every name of the object takes aya most of the time of a load, and
//! their members most of its memory. A type is known by its number, so every type stays in its place: one that is not used is
//! a declaration without a name there.

use super::btf::{
    self, ARRAY, CONST, ENUM, ENUM64, FORWARD, FUNCTION, Malformed, RESTRICT, SECTION, STRUCT, TAG, TYPE,
    TYPEDEF, TYPES_LENGTH, Type, UNION, VOLATILE,
};
use std::collections::HashSet;

/// Names of types between a structure and the type of a member, at most.
const DEPTH: usize = 32;

/// Keeps of `btf` what `object` uses.
///
/// # Errors
///
/// The bytes are no BTF.
pub(super) fn keep(btf: &mut [u8], object: &[u8]) -> Result<(), Malformed> {
    let [types, names] = btf::sections(btf)?;
    let starts = starts(btf.get(types.clone()).unwrap_or_default())?;
    let used = {
        let graph = Graph { types: btf.get(types.clone()).unwrap_or_default(), starts: &starts };
        graph.used(btf.get(names).unwrap_or_default(), &named(object))
    };
    let mut to = types.start;
    for (start, used) in starts.iter().zip(used) {
        let from = types.start + start;
        let (this, _) = Type::split(btf.get(from..types.end).unwrap_or_default())?;
        let [name, info, last] = [0, 4, 8].map(|at| this.word(at));
        let (length, words) = match this.kind() {
            kind if is_composite(kind) && !used => (TYPE, [0, FORWARD << 24, 0]),
            // Without parameters or variables, which nothing is relocated by.
            FUNCTION | SECTION => (TYPE, [name, info & !0xffff, last]),
            _ => (this.bytes().len(), [name, info, last]),
        };
        btf.copy_within(from..from + length, to);
        let (places, _) = btf.get_mut(to..).unwrap_or_default().as_chunks_mut();
        for (place, word) in places.iter_mut().zip(words) {
            *place = u32::to_ne_bytes(word);
        }
        to += length;
    }
    let length = u32::try_from(to - types.start).unwrap_or(u32::MAX).to_ne_bytes();
    if let Some(place) = btf.get_mut(TYPES_LENGTH..TYPES_LENGTH + length.len()) {
        place.copy_from_slice(&length);
    }
    Ok(())
}

/// Whether a type of this kind is relocated by its members.
fn is_composite(kind: u32) -> bool {
    matches!(kind, STRUCT | UNION | ENUM | ENUM64)
}

/// The names that an object has, types among them, without what is behind `___` (another form of the same type).
fn named(object: &[u8]) -> HashSet<&[u8]> {
    let names = object.split(|byte| *byte == 0).map(plain);
    names
        .filter(|name| name.first().is_some_and(|first| *first == b'_' || first.is_ascii_alphabetic()))
        .collect()
}

fn plain(name: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(name, b"___").unwrap_or(name.len());
    name.get(..end).unwrap_or(name)
}

/// Where each type begins.
fn starts(types: &[u8]) -> Result<Vec<usize>, Malformed> {
    let mut starts = Vec::new();
    let mut rest = types;
    while !rest.is_empty() {
        starts.push(types.len() - rest.len());
        (_, rest) = Type::split(rest)?;
    }
    Ok(starts)
}

/// Types that refer to each other by their numbers.
struct Graph<'a> {
    types: &'a [u8],
    starts: &'a [usize],
}

impl Graph<'_> {
    fn get(&self, number: usize) -> Option<Type<'_>> {
        let start = *self.starts.get(number.checked_sub(1)?)?;
        Type::split(self.types.get(start..)?).ok().map(|(this, _)| this)
    }

    /// The structure, union or enumeration that a type is, by whichever name, or consists of.
    fn composite(&self, mut number: usize) -> Option<usize> {
        for _ in 0..DEPTH {
            let this = self.get(number)?;
            number = match this.kind() {
                kind if is_composite(kind) => return Some(number),
                TYPEDEF | VOLATILE | CONST | RESTRICT | TAG => this.index(8),
                ARRAY => this.index(TYPE),
                _ => return None,
            };
        }
        None
    }

    /// For each type, whether it has one of these names, or is in one that has.
    fn used(&self, names: &[u8], wanted: &HashSet<&[u8]>) -> Vec<bool> {
        let mut used = vec![false; self.starts.len()];
        let mut waiting: Vec<usize> = (1..=self.starts.len())
            .filter(|number| {
                let named = |kind| is_composite(kind) || kind == TYPEDEF;
                let this = self.get(*number).filter(|this| named(this.kind()));
                this.is_some_and(|this| wanted.contains(plain(btf::name(names, this.index(0)))))
            })
            .filter_map(|number| self.composite(number))
            .collect();
        while let Some(number) = waiting.pop() {
            let Some(is_used) = number.checked_sub(1).and_then(|place| used.get_mut(place)) else { continue };
            if std::mem::replace(is_used, true) {
                continue;
            }
            let Some(this) = self.get(number).filter(|this| matches!(this.kind(), STRUCT | UNION)) else {
                continue;
            };
            let members = (TYPE..this.bytes().len()).step_by(12);
            waiting.extend(members.filter_map(|member| self.composite(this.index(member + 4))));
        }
        used
    }
}

#[cfg(test)]
mod tests;
