//! Bytes of a peer that no step of the conversation has consumed so far (pure).
//!
//! A peer may say one byte at a time, so what was searched at in vain is not searched at again: a line once its end has come,
//! and for its end, as for bytes, only where something is new.

use crate::source::probes::kind::expectation::{Expectation, find};

/// Bytes received and not consumed.
#[derive(Debug, Default)]
pub struct ReceiveBuffer {
    bytes: Vec<u8>,
    /// So many of them were searched in vain for what is expected.
    searched: usize,
}

impl ReceiveBuffer {
    /// Appends what was received.
    pub fn push(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
    }

    /// Discards everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The last bytes, for an error message.
    pub fn last(&self) -> String {
        let from = self.bytes.len().saturating_sub(100);
        String::from_utf8_lossy(self.bytes.get(from..).unwrap_or(&[])).into_owned()
    }

    /// Consumes lines, or bytes, up to what is expected; the groups it matched. A last line without its end counts once
    /// nothing more will come. Until it is found the expectation must stay the same.
    pub fn search(&mut self, expect: &Expectation, ended: bool) -> Option<Vec<String>> {
        let mut taken = 0;
        let found = match expect {
            Expectation::Bytes(part) => {
                // Its beginning may have come before.
                let from = self.first_unsearched(part.len().saturating_sub(1));
                find(self.bytes.get(from..).unwrap_or(&[]), part).map(|at| {
                    taken = from + at + part.len();
                    Vec::new()
                })
            }
            Expectation::Text(expression) => loop {
                let Some(end) = self.line(taken, ended) else { break None };
                let line = String::from_utf8_lossy(self.bytes.get(taken..end).unwrap_or(&[]));
                taken = end;
                if let Some(found) = expression.regex.captures(line.trim_end_matches(['\r', '\n'])) {
                    let group = |group: Option<regex_lite::Match<'_>>| {
                        group.map_or_else(String::new, |group| group.as_str().to_owned())
                    };
                    break Some(found.iter().map(group).collect());
                }
            },
        };
        // All at once: moving what is left for each line would be as slow as there are lines.
        self.bytes.drain(..taken);
        self.searched = if found.is_some() { 0 } else { self.bytes.len() };
        found
    }

    /// Where a search begins whose match may reach back over so many bytes that were searched before.
    fn first_unsearched(&self, overlap: usize) -> usize {
        self.searched.saturating_sub(overlap)
    }

    /// The end of the line that begins here.
    fn line(&self, begin: usize, ended: bool) -> Option<usize> {
        let from = begin.max(self.first_unsearched(0));
        let end = self.bytes.get(from..)?.iter().position(|byte| *byte == b'\n').map(|at| from + at + 1);
        end.or_else(|| (ended && begin < self.bytes.len()).then_some(self.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Expectation, ReceiveBuffer};
    use crate::source::probes::config::text::regular;

    fn text(regex: &str) -> Expectation {
        Expectation::Text(regular(regex).expect("it is one"))
    }

    fn received(bytes: &[u8]) -> ReceiveBuffer {
        ReceiveBuffer { bytes: bytes.to_vec(), searched: 0 }
    }

    #[test]
    fn lines_that_do_not_match_are_passed_over_and_groups_are_kept() {
        let mut received = received(b"* hello\r\n220 mail ESMTP\r\nrest");
        let groups = received.search(&text("^220 ([^ ]+)"), false).expect("it is there");
        assert_eq!(groups, ["220 mail", "mail"]);
        assert_eq!(received.bytes, b"rest");
        assert_eq!(received.search(&text("rest"), false), None, "the line may go on");
        assert!(received.search(&text("rest"), true).is_some(), "nothing more will come");
    }

    #[test]
    fn a_line_and_bytes_are_found_across_what_came_in_parts() {
        let mut received = received(&[1, 2, 3]);
        assert!(received.search(&Expectation::Bytes(vec![3, 4]), false).is_none());
        received.push(&[4, 5]);
        assert!(received.search(&Expectation::Bytes(vec![3, 4]), false).is_some());
        assert_eq!(received.bytes, [5]);
        received.push(b" one");
        assert!(received.search(&text("one two$"), false).is_none());
        received.push(b" two\nthree");
        assert!(received.search(&text("one two$"), false).is_some());
        assert!(
            received.search(&Expectation::Bytes(b"three".to_vec()), false).is_some(),
            "all of it is new again"
        );
        assert!(received.bytes.is_empty());
        assert!(received.search(&Expectation::Bytes(Vec::new()), false).is_some(), "nothing is always there");
    }

    #[test]
    fn what_was_searched_in_vain_is_not_searched_again() {
        for (expect, overlap) in [(text("never"), 0), (Expectation::Bytes(vec![1, 2]), 1)] {
            let mut received = ReceiveBuffer::default();
            for length in 1..1000 {
                received.push(b"x");
                assert!(received.search(&expect, false).is_none());
                assert_eq!(received.first_unsearched(overlap), length - overlap);
            }
        }
    }
}
