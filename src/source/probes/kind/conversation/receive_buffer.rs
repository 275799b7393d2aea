//! Received bytes that no step of the conversation has consumed (pure).
//!
//! A peer may send one byte at a time, so no byte is searched twice: a line is matched when its end has arrived, and
//! line ends and bytes are searched only in new data.

use crate::source::probes::kind::expectation::{Expectation, find};

/// Bytes received and not consumed.
#[derive(Debug, Default)]
pub struct ReceiveBuffer {
    bytes: Vec<u8>,
    /// Number of bytes that were searched without a match.
    searched: usize,
}

impl ReceiveBuffer {
    /// Appends received bytes.
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

    /// Consumes lines, or bytes, up to a match, and returns its groups. A last line without a line end is matched if
    /// `ended`. Until there is a match, the expectation must stay the same.
    pub fn search(&mut self, expect: &Expectation, ended: bool) -> Option<Vec<String>> {
        let mut taken = 0;
        let found = match expect {
            Expectation::Bytes(part) => {
                // The beginning of the match may have arrived earlier.
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
        // Removed together: removing each line separately would move the rest every time.
        self.bytes.drain(..taken);
        self.searched = if found.is_some() { 0 } else { self.bytes.len() };
        found
    }

    /// Position at which a search begins whose match may overlap this many searched bytes.
    fn first_unsearched(&self, overlap: usize) -> usize {
        self.searched.saturating_sub(overlap)
    }

    /// The end of the line that begins at a position.
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
