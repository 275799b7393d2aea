//! Lines from the pieces in which a file is read (pure).

use memchr::memchr;

/// The line that is not complete yet. Holds no memory between two lines.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    /// Whether the line has been too long, and its end is skipped.
    passing: bool,
}

impl Lines {
    /// Takes the next piece and gives each line that is complete, without its end, to `take`. Of a line of more than
    /// `longest` bytes the beginning is given as soon as it is there. Returns how many bytes were skipped.
    pub fn push(&mut self, mut piece: &[u8], longest: usize, mut take: impl FnMut(&[u8])) -> u64 {
        let mut passed = 0;
        while !piece.is_empty() {
            let end = memchr(b'\n', piece);
            let (rest, after) = piece.split_at(end.unwrap_or(piece.len()));
            piece = after.get(1..).unwrap_or_default();
            if self.passing {
                passed += rest.len();
            } else {
                let room = longest.saturating_sub(self.begun.len());
                let (fits, over) = rest.split_at(room.min(rest.len()));
                passed += over.len();
                if end.is_none() && over.is_empty() {
                    self.begun.extend_from_slice(fits);
                } else if self.begun.is_empty() {
                    take(fits);
                } else {
                    self.begun.extend_from_slice(fits);
                    take(&std::mem::take(&mut self.begun));
                }
                self.passing = !over.is_empty();
            }
            self.passing &= end.is_none();
        }
        passed as u64
    }

    /// Nothing follows: gives what was begun to `take`.
    pub fn end(&mut self, take: impl FnOnce(&[u8])) {
        self.passing = false;
        let begun = std::mem::take(&mut self.begun);
        if !begun.is_empty() {
            take(&begun);
        }
    }

    /// There is no room for the line that was begun: gives it to `take`, and skips the rest of it.
    pub fn cut(&mut self, take: impl FnOnce(&[u8])) {
        let begun = std::mem::take(&mut self.begun);
        if !begun.is_empty() {
            self.passing = true;
            take(&begun);
        }
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.begun.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;
    use proptest::prelude::*;

    fn lines(pieces: &[&[u8]], longest: usize) -> (Vec<Vec<u8>>, u64) {
        let (mut lines, mut found, mut passed) = (Lines::default(), Vec::new(), 0);
        for piece in pieces {
            passed += lines.push(piece, longest, |line| found.push(line.to_vec()));
            assert!(lines.held() <= longest);
        }
        lines.end(|line| found.push(line.to_vec()));
        assert_eq!(lines.held(), 0);
        (found, passed)
    }

    #[test]
    fn a_line_may_come_in_any_number_of_pieces() {
        let (found, passed) = lines(&[b"one\ntw", b"o", b"\n\nthree", b" and a half"], 100);
        assert_eq!(found, [&b"one"[..], b"two", b"", b"three and a half"]);
        assert_eq!(passed, 0);
    }

    #[test]
    fn a_line_that_is_too_long_is_one_and_what_is_passed_over_is_counted() {
        let (found, passed) = lines(&[b"abcdefgh", b"ij", b"kl\nnext\nexact\nlonger\n"], 5);
        assert_eq!(found, [&b"abcde"[..], b"next", b"exact", b"longe"]);
        assert_eq!(passed, 8);
    }

    #[test]
    fn a_line_that_was_cut_is_one_and_its_end_is_passed_over() {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        lines.push(b"one\nhalf", 100, |line| found.push(line.to_vec()));
        lines.cut(|line| found.push(line.to_vec()));
        lines.cut(|_| panic!("nothing is held"));
        assert_eq!(lines.push(b" and the rest\nnext\n", 100, |line| found.push(line.to_vec())), 13);
        assert_eq!(found, [&b"one"[..], b"half", b"next"]);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_they_are_read(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..8),
            longest in 1usize..20,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            prop_assert_eq!(lines(&pieces, longest), lines(&[&text], longest));
        }
    }
}
