//! Texts that somebody else chose, made fit for a log line, a page, a label or a history (pure).
//!
//! A peer, a receiver, a file of targets or whoever names a control group decides how long a text is and what is in it. What
//! is kept of it has a longest length and shows where it was cut; it holds no control characters (which would break a line
//! or command a terminal) and no invisible or bidirectional formatting (which would show another text than there is); and
//! its memory is its own, never that of the text it was cut from.

use std::fmt::Write;
use uuid::Uuid;

/// Longest text of an error that is logged, kept in a history or put on a page, in bytes.
pub const LONGEST_ERROR: usize = 500;

/// Longest name, key or label value that somebody else chose, in bytes.
pub const LONGEST_NAME: usize = 256;

/// Value of a label whose values are over a limit. No text of somebody else has it, see [`bounded_unique`].
pub const OTHER: &str = "~other";

/// Value of a label that could not be determined. No text of somebody else has it, see [`bounded_unique`].
pub const UNKNOWN: &str = "~unknown";

/// Stands where a text was cut off.
const CUT: char = '…';

/// Stands for a character that is not shown.
const HIDDEN: char = '\u{fffd}';

/// Bytes of the mark and the digits of a text that was changed and has to stay unique.
const SUFFIX: usize = CUT.len_utf8() + 16;

/// The bytes before the first zero, as C ends a text; all of them if there is none.
pub fn before_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The text in at most `longest` bytes, its end replaced by `…` where it is longer. White space becomes a blank; every other
/// control, invisible or bidirectional character becomes U+FFFD. Takes time and memory for `longest` bytes only.
#[must_use]
pub fn bounded(text: &str, longest: usize) -> String {
    bounded_characters(text.chars(), longest)
}

/// The same of bytes that should be UTF-8; what is not becomes U+FFFD.
#[must_use]
pub fn bounded_bytes(bytes: &[u8], longest: usize) -> String {
    // One byte more shows that there is more; what becomes a replacement character only gets longer.
    let head = bytes.get(..=longest).unwrap_or(bytes);
    bounded(&String::from_utf8_lossy(head), longest)
}

/// The same of any characters, which are taken only as far as they fit.
#[must_use]
pub fn bounded_characters(characters: impl Iterator<Item = char>, longest: usize) -> String {
    let mut kept = String::new();
    // How much of it is kept where the mark has to follow.
    let mut fits = 0;
    for character in characters.map(shown) {
        if kept.len() + character.len_utf8() > longest {
            kept.truncate(fits);
            if CUT.len_utf8() <= longest {
                kept.push(CUT);
            }
            break;
        }
        kept.push(character);
        if kept.len() + CUT.len_utf8() <= longest {
            fits = kept.len();
        }
    }
    kept.shrink_to_fit();
    kept
}

/// [`bounded`], for a text that tells things apart, such as a label value or the key of a map: one that had to be changed
/// ends in `…` and 16 digits of its SHA-1, so that two texts that differ never become one. [`OTHER`] and [`UNKNOWN`] are
/// changed, too: they are not for others to choose.
#[must_use]
pub fn bounded_unique(text: &str, longest: usize) -> String {
    let fits = text.len() <= longest && text.chars().all(|character| shown(character) == character);
    if fits && !matches!(text, OTHER | UNKNOWN) {
        text.to_owned()
    } else {
        changed(text, text.as_bytes(), longest)
    }
}

/// The same of bytes that should be UTF-8. What is not becomes U+FFFD, and the digits are those of the bytes, so that
/// bytes that differ never become one text.
#[must_use]
pub fn bounded_unique_bytes(bytes: &[u8], longest: usize) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return bounded_unique(text, longest);
    }
    let head = bytes.get(..longest).unwrap_or(bytes);
    changed(&String::from_utf8_lossy(head), bytes, longest)
}

/// [`bounded_unique_bytes`] of a name that somebody else gave, for a label that must not be empty: an empty name is `…`
/// and the digits alone, because a label without a value is no label.
#[must_use]
pub fn name_of_bytes(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        changed("", bytes, LONGEST_NAME)
    } else {
        bounded_unique_bytes(bytes, LONGEST_NAME)
    }
}

/// A text as far as it can be shown, with `…` and 16 digits of the SHA-1 of what it stands for.
fn changed(text: &str, whole: &[u8], longest: usize) -> String {
    let digest = Uuid::new_v5(&Uuid::nil(), whole).as_u128() >> 64;
    let fits = longest.saturating_sub(SUFFIX);
    let mut kept = String::with_capacity(fits + SUFFIX);
    for character in text.chars().map(shown) {
        if kept.len() + character.len_utf8() > fits {
            break;
        }
        kept.push(character);
    }
    let _infallible = write!(kept, "{CUT}{digest:016x}");
    kept.shrink_to_fit();
    kept
}

/// What is shown of a character.
fn shown(character: char) -> char {
    match character {
        '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        // Formatting by the Unicode database (Cf) that is invisible or changes the direction. The joiners (U+200C, U+200D)
        // stay: words and emoji are written with them.
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => HIDDEN,
        character if character.is_control() => HIDDEN,
        character => character,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        LONGEST_NAME, OTHER, UNKNOWN, bounded, bounded_bytes, bounded_unique, bounded_unique_bytes,
        name_of_bytes,
    };

    #[test]
    fn a_text_is_cut_visibly_between_characters_and_keeps_no_capacity() {
        assert_eq!(bounded("well", 10), "well");
        assert_eq!(bounded("exactly10!", 10), "exactly10!");
        assert_eq!(bounded("eleven long", 10), "eleven …");
        assert_eq!(bounded("ééééé", 9), "ééé…");
        for longest in 0..12 {
            for text in ["", "abcdefghijk", "ééééé", "a\u{1f600}\u{1f600}b", "\u{202e}\u{202e}abc"] {
                let cut = bounded(text, longest);
                assert!(cut.len() <= longest, "{text:?} in {longest}: {cut:?}");
                assert_eq!(cut.capacity(), cut.len(), "{text:?} in {longest}");
            }
        }
        let long = "k".repeat(15 << 20);
        assert_eq!(bounded(&long, 500).capacity(), 500);
        assert_eq!(bounded_unique(&long, 500).capacity(), 500);
    }

    #[test]
    fn what_commands_a_terminal_or_turns_the_text_round_is_not_kept() {
        assert_eq!(bounded("one\r\ntwo\tthree\u{2028}four", 99), "one  two three four");
        assert_eq!(bounded("\u{1b}[2Jred\u{7f}\u{9b}31m\0", 99), "\u{fffd}[2Jred\u{fffd}\u{fffd}31m\u{fffd}");
        assert_eq!(
            bounded("a\u{202e}b\u{2066}c\u{200b}d\u{feff}e", 99),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e"
        );
        assert_eq!(bounded("می\u{200c}خواهم 日本 ✓", 99), "می\u{200c}خواهم 日本 ✓");
        assert_eq!(bounded_bytes(b"HTTP \xff\xfe ok", 99), "HTTP \u{fffd}\u{fffd} ok");
        assert_eq!(bounded_bytes(&[b'x'; 100], 10), "xxxxxxx…");
        assert_eq!(bounded_bytes(&[b'x'; 10], 10), "xxxxxxxxxx");
    }

    #[test]
    fn texts_that_differ_stay_different() {
        assert_eq!(bounded_unique("/system.slice/a.service", 256), "/system.slice/a.service");
        let (one, two) = (format!("{}1", "k".repeat(300)), format!("{}2", "k".repeat(300)));
        let (left, right) = (bounded_unique(&one, 64), bounded_unique(&two, 64));
        assert_ne!(left, right);
        assert_eq!(left.len(), 64);
        assert!(left.starts_with("kkkkkkkk") && left.contains('…'), "{left}");
        assert_eq!(left, bounded_unique(&one, 64), "the same text is the same again");
        let (one, two) = (bounded_unique("a\u{1}", 64), bounded_unique("a\u{2}", 64));
        assert_ne!(one, two, "what is not shown counts, too");
        assert!(bounded_unique("xxxxxxxxxx", 5).len() <= 19, "never shorter than what keeps it unique");
        let (one, two) = (bounded_unique_bytes(b"\xff\xfe", 64), bounded_unique_bytes(b"\xfe\xff", 64));
        assert_ne!(one, two, "neither is UTF-8");
        assert!(one.starts_with("\u{fffd}\u{fffd}…") && two.starts_with("\u{fffd}\u{fffd}…"), "{one} {two}");
        assert_eq!(bounded_unique_bytes("é".as_bytes(), 64), "é");
        let long = [&[0xff; 300][..], b"1"].concat();
        assert!(bounded_unique_bytes(&long, 64).len() <= 64);
        assert_ne!(bounded_unique_bytes(&long, 64), bounded_unique_bytes(&[0xff; 301], 64));
    }

    #[test]
    fn a_value_with_a_meaning_of_its_own_is_nobodys_name() {
        for reserved in [OTHER, UNKNOWN] {
            let named = bounded_unique(reserved, LONGEST_NAME);
            assert!(named != reserved && named.starts_with(&format!("{reserved}…")), "{named}");
            assert_eq!(named, name_of_bytes(reserved.as_bytes()));
            assert_eq!(named, bounded_unique(&named, LONGEST_NAME), "a changed text stays as it is");
        }
        let nameless = name_of_bytes(b"");
        assert!(nameless.starts_with('…') && nameless.len() == 19, "{nameless}");
        assert_eq!(bounded_unique("", 9), "", "a text may be empty");
    }
}
