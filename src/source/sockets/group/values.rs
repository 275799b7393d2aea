//! The values of one key, as codes: what a group is found by is a few numbers, not texts.

use super::{OTHER, UNKNOWN};
use crate::text::{LONGEST_NAME, bounded_unique};
use std::collections::HashMap;
use std::sync::Arc;

/// Codes that no value has.
pub(super) const ABSENT: u32 = u32::MAX;
pub(super) const IS_UNKNOWN: u32 = u32::MAX - 1;
pub(super) const IS_OTHER: u32 = u32::MAX - 2;

/// The values of one key that groups have at present.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Largest number of distinct values that get a code.
    limit: usize,
    codes: HashMap<Arc<str>, u32>,
    /// Text of a code, and how many groups have it.
    used: HashMap<u32, (Arc<str>, u32)>,
    next: u32,
}

impl Values {
    /// None yet, and never more than `limit`.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Largest number of distinct values that get a code.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The code of a text; a new one if there is room for it.
    pub(super) fn of_text(&mut self, text: &Arc<str>) -> Option<u32> {
        // A process can call itself anything.
        match &**text {
            OTHER => return None,
            UNKNOWN => return Some(IS_UNKNOWN),
            _ => {}
        }
        if let Some(code) = self.codes.get(text) {
            return Some(*code);
        }
        if self.used.len() >= self.limit {
            return None;
        }
        let code = self.next;
        // After four billion containers a code comes again; that of one that is still in use is skipped.
        self.next = (code + 1) % IS_OTHER;
        if self.used.contains_key(&code) {
            return None;
        }
        self.codes.insert(Arc::clone(text), code);
        self.used.insert(code, (Arc::clone(text), 0));
        Some(code)
    }

    /// The code of a name that somebody else chose: [`Self::of_text`] of what is fit for a label, at most 256 bytes without
    /// control or bidirectional characters. Names that differ have different codes.
    pub(super) fn of_name(&mut self, name: &str) -> Option<u32> {
        // What has a code is fit for a label.
        match self.codes.get(name) {
            Some(code) => Some(*code),
            None => self.of_text(&bounded_unique(name, LONGEST_NAME).into()),
        }
    }

    /// Whether a number has a code: a group has it.
    pub(super) fn has_number(&self, number: u32) -> bool {
        self.used.contains_key(&number)
    }

    /// The code of a number is the number. A new one leaves room for so many others.
    pub(super) fn of_number(&mut self, number: u32, reserved: usize) -> Option<u32> {
        if self.has_number(number) {
            return Some(number);
        }
        if self.used.len() + reserved >= self.limit {
            return None;
        }
        self.used.insert(number, (number.to_string().into(), 0));
        Some(number)
    }

    pub(super) fn text(&self, code: u32) -> Option<Arc<str>> {
        match code {
            ABSENT => None,
            IS_UNKNOWN => Some(UNKNOWN.into()),
            IS_OTHER => Some(OTHER.into()),
            code => self.used.get(&code).map(|(text, _)| Arc::clone(text)),
        }
    }

    pub(super) fn take(&mut self, code: u32) {
        if let Some((_, groups)) = self.used.get_mut(&code) {
            *groups += 1;
        }
    }

    /// Forgets a value that no group has any more.
    pub(super) fn release(&mut self, code: u32) {
        if let Some((text, used)) = self.used.get_mut(&code) {
            *used = used.saturating_sub(1);
            if *used == 0 {
                let text = Arc::clone(text);
                self.codes.remove(&text);
                self.used.remove(&code);
            }
        }
    }
}
