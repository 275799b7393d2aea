//! The values of one key, as codes: a group is found by a few numbers instead of texts.

use crate::text::{LONGEST_NAME, OTHER, UNKNOWN, bounded_unique};
use std::collections::HashMap;
use std::sync::Arc;

/// Codes that are no values.
pub(super) const ABSENT: u32 = u32::MAX;
pub(super) const IS_UNKNOWN: u32 = u32::MAX - 1;
pub(super) const IS_OTHER: u32 = u32::MAX - 2;

/// The values of one key that groups have now.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Maximum number of distinct values.
    limit: usize,
    codes: HashMap<Arc<str>, u32>,
    /// Text of each code, and the number of groups that have it.
    used: HashMap<u32, (Arc<str>, u32)>,
    next: u32,
}

impl Values {
    /// Creates it without values.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Maximum number of distinct values.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The code of a text, a new one if the limit allows; otherwise `None`.
    pub(super) fn of_text(&mut self, text: &Arc<str>) -> Option<u32> {
        // A direction can be unknown. Names of others are never one of these.
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
        // Codes repeat after four billion values; a code in use is skipped.
        self.next = (code + 1) % IS_OTHER;
        if self.used.contains_key(&code) {
            return None;
        }
        self.codes.insert(Arc::clone(text), code);
        self.used.insert(code, (Arc::clone(text), 0));
        Some(code)
    }

    /// The code of a name chosen by others: [`Self::of_text`] of the name made fit for a label, at most 256 bytes
    /// without control or bidirectional characters. Names that differ have different codes.
    pub(super) fn of_name(&mut self, name: &str) -> Option<u32> {
        // A text with a code is fit for a label.
        match self.codes.get(name) {
            Some(code) => Some(*code),
            None => self.of_text(&bounded_unique(name, LONGEST_NAME).into()),
        }
    }

    /// Whether a group has this number.
    pub(super) fn has_number(&self, number: u32) -> bool {
        self.used.contains_key(&number)
    }

    /// The code of a number is the number; a new one if the limit allows.
    pub(super) fn of_number(&mut self, number: u32) -> Option<u32> {
        if self.has_number(number) {
            return Some(number);
        }
        if self.used.len() >= self.limit {
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

    pub(super) fn acquire(&mut self, code: u32) {
        if let Some((_, groups)) = self.used.get_mut(&code) {
            *groups += 1;
        }
    }

    /// Removes a value when its last group ends.
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
