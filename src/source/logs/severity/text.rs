//! The severity of a line of text (pure): logfmt, glog and klog, a word among the first seven fields, Redis.

use super::{Severity, of_value, of_word};

/// Bytes of a line in which words are looked for.
const SEARCHED: usize = 255;

/// Fields at the beginning of a line in which words are looked for.
const FIELDS: usize = 7;

/// The severity of a message by its first line.
pub fn severity(message: &str) -> Severity {
    let line = message.lines().next().unwrap_or_default();
    if let Some(level) = logfmt(line) {
        return level;
    }
    let line = line.get(..line.floor_char_boundary(SEARCHED)).unwrap_or(line);
    let mut fields = [""; FIELDS];
    let mut count = 0;
    for (slot, field) in fields.iter_mut().zip(line.split_whitespace()) {
        *slot = field;
        count += 1;
    }
    let fields = fields.get(..count).unwrap_or_default();
    glog(fields).or_else(|| word(fields)).or_else(|| redis(fields)).unwrap_or(Severity::Unknown)
}

/// The value of `level` in a line of pairs `key=value`, whose texts with blanks are in quotes.
fn logfmt(line: &str) -> Option<Severity> {
    let first = line.split_whitespace().next()?;
    first.split_once('=').filter(|(key, _)| is_key(key))?;
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=')?;
        if !is_key(key) {
            return None;
        }
        let (value, after) = if let Some(quoted) = value.strip_prefix('"') {
            quoted.split_at(end_of_quoted(quoted)?)
        } else {
            value.split_at(value.find(char::is_whitespace).unwrap_or(value.len()))
        };
        if key == "level" {
            return Some(of_value(value));
        }
        rest = after.strip_prefix('"').unwrap_or(after).trim_start();
    }
    None
}

fn is_key(key: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !key.is_empty() && key.bytes().all(inside)
}

/// Where a quoted text ends.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// `E0504 07:38:36.184861 …`: a letter, month and day.
fn glog(fields: &[&str]) -> Option<Severity> {
    let [letter, date @ ..] = fields.first()?.as_bytes() else { return None };
    if date.len() != 4 || !date.iter().all(u8::is_ascii_digit) {
        return None;
    }
    match letter {
        b'I' => Some(Severity::Info),
        b'W' => Some(Severity::Warning),
        b'E' => Some(Severity::Error),
        b'F' => Some(Severity::Critical),
        _ => None,
    }
}

/// The first word that stands for a severity.
fn word(fields: &[&str]) -> Option<Severity> {
    let ends = |character| matches!(character, ']' | ')' | ';' | '|' | ':' | ',' | '.');
    let mut parts = fields.iter().flat_map(|field| field.split(ends));
    parts.find_map(|part| {
        let part = part.trim_start_matches(['"', '[', '(', '<', '\'']).as_bytes();
        let level = part.get(..6).is_some_and(|begin| begin.eq_ignore_ascii_case(b"level="));
        of_word(if level { part.get(6..)? } else { part })
    })
}

/// The sign between time and text: `1:S 12 Nov 2019 07:52:11.999 * text`, before Redis 5 without the year, and before
/// Redis 3 with `[PID]` in front.
fn redis(fields: &[&str]) -> Option<Severity> {
    let [first, _, _, year, ..] = fields else { return None };
    let sign = if first.starts_with('[') && first.ends_with(']') {
        fields.get(4)
    } else if first.split(':').count() == 2 {
        fields.get(if year.len() == 4 { 5 } else { 4 })
    } else {
        None
    };
    // A text follows.
    match *sign.filter(|_| fields.len() > 5)? {
        "." => Some(Severity::Debug),
        "-" => Some(Severity::Info),
        "*" | "#" => Some(Severity::Warning),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::severity;
    use proptest::prelude::*;

    /// Tab-separated: the severity, that of coroot's parser, the line.
    #[test]
    fn lines_of_many_programs_say_how_bad_they_are() {
        let cases = include_str!("../../../../tests/fixtures/logs/severity.tsv");
        for case in cases.lines() {
            let mut fields = case.splitn(3, '\t');
            let (expected, line) = (fields.next().unwrap(), fields.nth(1).unwrap());
            assert_eq!(severity(line).word(), expected, "{line}");
        }
        assert!(cases.lines().count() > 50);
    }

    #[test]
    fn only_the_first_line_counts() {
        assert_eq!(severity("started\nERROR in the second").word(), "unknown");
        assert_eq!(severity("").word(), "unknown");
    }

    proptest! {
        #[test]
        fn any_text_has_a_severity(text in "[ \\t\\n\"\\\\=:.a-zA-Zé\\[\\]0-9]{0,300}") {
            severity(&text);
        }
    }
}
