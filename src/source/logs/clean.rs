//! A line as it is looked at: UTF-8, without escape sequences of terminals, without the ends of lines (pure).

use std::borrow::Cow;

/// The text of a line. Bytes that are not UTF-8 become U+FFFD; control sequences (`ESC [ … letter`, ECMA-48), the carriage
/// return before the line feed, and NUL bytes at its beginning, which a file has that was cut off under its writer, are
/// taken off.
pub fn clean(line: &[u8]) -> Cow<'_, str> {
    let zeros = line.iter().take_while(|byte| **byte == 0).count();
    let line = line.get(zeros..).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    if memchr::memchr(0x1b, line).is_none() {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split('\u{1b}');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(after_sequence(part));
    }
    Cow::Owned(plain)
}

/// What follows a control sequence; the escape alone is taken off where there is none.
fn after_sequence(text: &str) -> &str {
    let Some(sequence) = text.strip_prefix('[') else { return text };
    let inside = |character: char| ('\u{20}'..='\u{3f}').contains(&character);
    let rest = sequence.trim_start_matches(inside);
    let mut characters = rest.chars();
    match characters.next() {
        Some('\u{40}'..='\u{7e}') => characters.as_str(),
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::clean;
    use proptest::prelude::*;

    #[test]
    fn colours_carriage_returns_and_holes_are_taken_off() {
        assert_eq!(clean(b"\x1b[31mERROR\x1b[0m it \x1b[1;4mbroke\x1b[m\r"), "ERROR it broke");
        assert_eq!(clean(b"\0\0\0after a hole"), "after a hole");
        assert_eq!(clean(b"caf\xe9 \x1b"), "caf\u{fffd} ");
        assert_eq!(clean(b"\x1b[31"), "");
        assert_eq!(clean("\u{1b}[é".as_bytes()), "é");
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_looked_at(line in proptest::collection::vec(any::<u8>(), 0..100)) {
            let escapes = clean(&line).matches('\u{1b}').count();
            prop_assert_eq!(escapes, 0);
        }
    }
}
