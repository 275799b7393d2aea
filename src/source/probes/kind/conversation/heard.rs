//! What a peer said and nobody has taken so far (pure).
//!
//! A peer may say one byte at a time, so what was looked at in vain is not looked at again: a line once its end has come,
//! and for its end, as for bytes, only where something is new.

use crate::source::probes::kind::expectation::{Expectation, find};

/// What was heard.
#[derive(Debug, Default)]
pub struct Heard {
    bytes: Vec<u8>,
    /// So many of them do not hold what is looked for.
    looked: usize,
}

impl Heard {
    /// More has come.
    pub fn add(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
    }

    /// Forgets it all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The end of it, for a person.
    pub fn last(&self) -> String {
        let from = self.bytes.len().saturating_sub(100);
        String::from_utf8_lossy(self.bytes.get(from..).unwrap_or(&[])).into_owned()
    }

    /// Takes lines, or bytes, up to what is expected out of what was heard; the groups it matched. A last line without its
    /// end counts once nothing more will come. Until it is found the expectation is the same.
    pub fn look(&mut self, expect: &Expectation, ended: bool) -> Option<Vec<String>> {
        let mut taken = 0;
        let found = match expect {
            Expectation::Bytes(part) => {
                // Its beginning may have come before.
                let from = self.looked.saturating_sub(part.len().saturating_sub(1));
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
        self.looked = if found.is_some() { 0 } else { self.bytes.len() };
        found
    }

    /// The end of the line that begins here.
    fn line(&self, begin: usize, ended: bool) -> Option<usize> {
        let from = begin.max(self.looked);
        let end = self.bytes.get(from..)?.iter().position(|byte| *byte == b'\n').map(|at| from + at + 1);
        end.or_else(|| (ended && begin < self.bytes.len()).then_some(self.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Expectation, Heard};
    use crate::config::probes::text::regular;
    use std::time::{Duration, Instant};

    fn text(regex: &str) -> Expectation {
        Expectation::Text(regular(regex).expect("it is one"))
    }

    fn heard(bytes: &[u8]) -> Heard {
        Heard { bytes: bytes.to_vec(), looked: 0 }
    }

    #[test]
    fn lines_that_do_not_match_are_passed_over_and_groups_are_kept() {
        let mut heard = heard(b"* hello\r\n220 mail ESMTP\r\nrest");
        let groups = heard.look(&text("^220 ([^ ]+)"), false).expect("it is there");
        assert_eq!(groups, ["220 mail", "mail"]);
        assert_eq!(heard.bytes, b"rest");
        assert_eq!(heard.look(&text("rest"), false), None, "the line may go on");
        assert!(heard.look(&text("rest"), true).is_some(), "nothing more will come");
    }

    #[test]
    fn a_line_and_bytes_are_found_across_what_came_in_parts() {
        let mut heard = heard(&[1, 2, 3]);
        assert!(heard.look(&Expectation::Bytes(vec![3, 4]), false).is_none());
        heard.add(&[4, 5]);
        assert!(heard.look(&Expectation::Bytes(vec![3, 4]), false).is_some());
        assert_eq!(heard.bytes, [5]);
        heard.add(b" one");
        assert!(heard.look(&text("one two$"), false).is_none());
        heard.add(b" two\nthree");
        assert!(heard.look(&text("one two$"), false).is_some());
        assert!(
            heard.look(&Expectation::Bytes(b"three".to_vec()), false).is_some(),
            "all of it is new again"
        );
        assert!(heard.bytes.is_empty());
        assert!(heard.look(&Expectation::Bytes(Vec::new()), false).is_some(), "nothing is always there");
    }

    #[test]
    fn a_peer_that_says_one_byte_at_a_time_is_not_heard_from_the_beginning_each_time() {
        let began = Instant::now();
        for expect in [text("never"), Expectation::Bytes(vec![1, 2])] {
            let mut heard = Heard::default();
            for _ in 0..200_000 {
                heard.add(b"x");
                assert!(heard.look(&expect, false).is_none());
            }
        }
        // Where it is, either takes minutes.
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
