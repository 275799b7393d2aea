//! Messages from lines (pure).
//!
//! A line continues the message before it where it is empty, indented, or a part of a stack trace of Java, Python, Go, .NET
//! or Node.js; and where the first line of that message has a time and this one has none. Everything else begins a message.

use super::frame::LONGEST;
use trace::Trace;

mod timestamp;
mod trace;

/// Bytes that are kept for the next message.
const KEPT: usize = 1024;

/// The message that is not complete yet. Holds little memory between two messages, and none when told so.
#[derive(Debug, Default)]
pub struct Messages {
    text: String,
    /// Whether the first line has a time.
    timed: bool,
    trace: Trace,
    /// Whether the message was so long that it has been given; the lines that continue it are skipped.
    full: bool,
}

impl Messages {
    /// Takes the next line; gives the message before it to `take` where this line begins another, and one that is full at
    /// once. Returns how many bytes of the line were skipped.
    pub fn line(&mut self, line: &str, mut take: impl FnMut(&str)) -> u64 {
        let open = !self.text.is_empty() || self.full;
        let timed = timestamp::is_in(line);
        if !self.continues(line, timed) || (!open && !line.is_empty()) {
            self.end(&mut take);
            self.timed = timed;
            self.trace = Trace::beginning(line);
        } else if !open {
            return 0;
        }
        if self.full {
            return line.len() as u64;
        }
        let separated = usize::from(!self.text.is_empty());
        let room = LONGEST.saturating_sub(self.text.len() + separated);
        let fits = line.get(..line.floor_char_boundary(room)).unwrap_or_default();
        if separated == 1 && room > 0 {
            self.text.push('\n');
        }
        self.text.push_str(fits);
        if fits.len() < line.len() || room == 0 {
            self.end(&mut take);
            self.full = true;
        }
        (line.len() - fits.len()) as u64
    }

    fn continues(&mut self, line: &str, timed: bool) -> bool {
        let indented = line.starts_with('\t') || line.starts_with("  ");
        if line.is_empty() || line == "}" || indented {
            self.trace.indented(line);
            return true;
        }
        if self.text.is_empty() && !self.full {
            return false;
        }
        if self.timed {
            return !timed;
        }
        self.trace.continues(line)
    }

    /// The message is complete: gives it to `take`.
    pub fn end(&mut self, mut take: impl FnMut(&str)) {
        self.full = false;
        let text = self.text.trim();
        if !text.is_empty() {
            take(text);
        }
        self.text.clear();
        if self.text.capacity() > KEPT {
            self.rest();
        }
    }

    /// Nothing is expected: gives up the memory. What is open is lost.
    pub fn rest(&mut self) {
        self.text = String::new();
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Messages};
    use proptest::prelude::*;

    fn messages(text: &str) -> Vec<String> {
        let (mut messages, mut found) = (Messages::default(), Vec::new());
        for line in text.split('\n') {
            messages.line(line, |message| found.push(message.to_owned()));
            assert!(messages.held() <= LONGEST);
        }
        messages.end(|message| found.push(message.to_owned()));
        found
    }

    /// How many messages these lines are, and for coroot's parser, is what the heading says: `## 2 2 python chained`.
    #[test]
    fn traces_of_every_language_are_one_message_each() {
        let cases = include_str!("../../../tests/fixtures/logs/multiline.txt");
        let mut seen = 0;
        for case in cases.split("## ").skip(1) {
            let (heading, text) = case.split_once('\n').unwrap();
            let (count, name) = heading.split_once(' ').unwrap();
            let found = messages(text.trim_end_matches('\n'));
            assert_eq!(found.len(), count.parse::<usize>().unwrap(), "{name}: {found:#?}");
            let lines = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
            assert_eq!(found.iter().map(|each| lines(each)).sum::<usize>(), lines(text), "{name}");
            seen += 1;
        }
        assert!(seen > 10, "{seen}");
    }

    #[test]
    fn a_message_is_64_kib_at_most_and_what_continues_it_is_passed_over() {
        let (mut open, mut found) = (Messages::default(), Vec::new());
        let mut passed = open.line("first", |_| ());
        let line = format!("\t{}", "é".repeat(20_000));
        for _ in 0..4 {
            passed += open.line(&line, |message| found.push(message.to_owned()));
        }
        assert_eq!((found.len(), open.held()), (1, 0));
        assert!(found[0].len() <= LONGEST && found[0].len() >= LONGEST - 1);
        let given = 5 + 4 * line.len() as u64;
        // The line ends of those that are in it were given, too.
        assert_eq!(passed + found[0].len() as u64, given + 2);
        open.line("second", |_| panic!("the end of the first is no message"));
        open.end(|message| found.push(message.to_owned()));
        assert_eq!(found[1], "second");
    }

    #[test]
    fn lines_without_a_message_before_them_are_one() {
        assert_eq!(messages("  indented\n  again\n\n\n"), ["indented\n  again"]);
        assert_eq!(messages("\n\n\n"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn any_lines_can_be_joined(text in "[ \t\n(){}:a-c0-9é^]{0,200}") {
            let found = messages(&text);
            let kept = |text: &str| text.chars().filter(|character| !character.is_whitespace()).count();
            prop_assert_eq!(found.iter().map(|message| kept(message)).sum::<usize>(), kept(&text));
        }
    }
}
