//! The recurring pattern of a message: its words without what varies (pure).
//!
//! Words and hash are those of coroot's logparser (`pattern.go`, version 1.2.1), so that dashboards that know its hashes go
//! on knowing them.

/// Words of a message that are looked at.
const WORDS: usize = 100;

/// MD5 of the words with blanks between.
pub type Hash = [u8; 16];

/// A hash as it is printed.
pub fn word(hash: Hash) -> String {
    format!("{:032x}", u128::from_be_bytes(hash))
}

/// Makes patterns; its memory is used again, so that a known pattern costs no allocation.
#[derive(Debug, Default)]
pub struct Patterns {
    /// The message without what is in quotes and brackets.
    outside: String,
    brackets: Vec<u8>,
    word: Vec<u8>,
    /// A number for each word, which stands for it where patterns are compared.
    pub words: Vec<u32>,
    /// The words with blanks between.
    pub text: String,
}

impl Patterns {
    /// Takes the words of a message.
    pub fn of(&mut self, message: &str) {
        let Self { outside, brackets, word, words, text } = self;
        words.clear();
        text.clear();
        let outside = take_out(message, brackets, outside);
        if outside.is_ascii() {
            // `char::is_whitespace` of ASCII: `u8::is_ascii_whitespace` leaves out the vertical tab.
            let fields = outside.as_bytes().split(|byte| matches!(byte, b'\t'..=b'\r' | b' '));
            take_words(fields, word, words, text);
        } else {
            take_words(outside.split_whitespace().map(str::as_bytes), word, words, text);
        }
    }

    /// The hash of the words.
    pub fn hash(&self) -> Hash {
        md5::compute(&self.text).0
    }
}

/// Writes the words among these fields.
fn take_words<'a>(
    fields: impl Iterator<Item = &'a [u8]>,
    word: &mut Vec<u8>,
    words: &mut Vec<u32>,
    text: &mut String,
) {
    for field in fields {
        let ends = field.iter().rposition(|byte| !matches!(byte, b'=' | b':' | b']' | b',' | b';'));
        let field = ends.and_then(|end| field.get(..=end)).unwrap_or_default();
        if field.len() < 2 || is_hexadecimal(field) || is_uuid(field) {
            continue;
        }
        let taken = if field.iter().any(u8::is_ascii_digit) {
            word.clear();
            word.extend(field.iter().filter(|byte| !byte.is_ascii_digit()));
            word.as_slice()
        } else {
            field
        };
        let Some(taken) =
            Some(taken).filter(|word| is_word(word)).and_then(|word| std::str::from_utf8(word).ok())
        else {
            continue;
        };
        if !words.is_empty() {
            text.push(' ');
        }
        text.push_str(taken);
        words.push(number(taken));
        if words.len() == WORDS {
            break;
        }
    }
}

/// Whether two patterns are one: the same words, or as many of which one is another.
pub fn alike(one: &[u32], other: &[u32]) -> bool {
    one.len() == other.len() && one.iter().zip(other).filter(|(one, other)| one != other).nth(1).is_none()
}

/// A text without what is in quotes and brackets, written to `outside` where it is another.
fn take_out<'a>(text: &'a str, brackets: &mut Vec<u8>, outside: &'a mut String) -> &'a str {
    brackets.clear();
    outside.clear();
    let mut quote = None;
    // Where what is kept begins; marks are ASCII, so what is between two of them is UTF-8.
    let mut from = 0;
    let bytes = text.as_bytes();
    for (at, byte) in
        bytes.iter().enumerate().filter(|(_, byte)| MARKS.get(usize::from(**byte)) == Some(&true))
    {
        let kept = quote.is_none() && brackets.is_empty();
        match byte {
            b'[' | b'(' | b'{' if quote.is_none() => brackets.push(*byte),
            b']' | b')' | b'}' if brackets.last() == Some(&opening(*byte)) => _ = brackets.pop(),
            b'"' | b'\''
                if brackets.is_empty() && at.checked_sub(1).and_then(|at| bytes.get(at)) != Some(&b'\\') =>
            {
                match quote {
                    None => quote = Some(*byte),
                    Some(open) if open == *byte => quote = None,
                    Some(_) => {}
                }
            }
            _ => {}
        }
        match (kept, quote.is_none() && brackets.is_empty()) {
            (true, false) => outside.push_str(text.get(from..at).unwrap_or_default()),
            (false, true) => from = at + 1,
            _ => {}
        }
    }
    let rest = if quote.is_none() && brackets.is_empty() { text.get(from..).unwrap_or_default() } else { "" };
    if from == 0 && outside.is_empty() {
        return rest;
    }
    outside.push_str(rest);
    outside
}

/// Whether a byte is a quote or bracket.
const MARKS: [bool; 256] = {
    let mut marks = [false; 256];
    let mut rest: &[u8] = b"[](){}\"'";
    while let [mark, others @ ..] = rest {
        #[expect(clippy::indexing_slicing, reason = "at compile time, and a byte is below 256")]
        {
            marks[*mark as usize] = true;
        }
        rest = others;
    }
    marks
};

fn opening(closing: u8) -> u8 {
    match closing {
        b']' => b'[',
        b')' => b'(',
        _ => b'{',
    }
}

/// `0x1f`, or four hexadecimal digits and more.
fn is_hexadecimal(field: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_hexdigit);
    let prefixed = field.strip_prefix(b"0x").is_some_and(|rest| !rest.is_empty() && digits(rest));
    prefixed || (field.len() >= 4 && digits(field))
}

fn is_uuid(field: &[u8]) -> bool {
    field.len() == 36
        && field.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Letters, with `.`, `_` and `-` inside.
fn is_word(bytes: &[u8]) -> bool {
    let ends = [bytes.first(), bytes.last()];
    let inside = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'.' | b'_' | b'-');
    bytes.len() > 1 && ends.into_iter().flatten().all(u8::is_ascii_alphabetic) && bytes.iter().all(inside)
}

/// FNV-1a.
fn number(word: &str) -> u32 {
    word.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::{Patterns, alike};
    use proptest::prelude::*;

    fn pattern(message: &str) -> (String, String, Vec<u32>) {
        let mut patterns = Patterns::default();
        patterns.of(message);
        (super::word(patterns.hash()), patterns.text, patterns.words)
    }

    /// Tab-separated: the hash and the words that logparser makes of it, the message with its escapes.
    #[test]
    fn words_and_hash_are_those_that_logparser_makes() {
        let cases = include_str!("../../../tests/fixtures/logs/patterns.tsv");
        for case in cases.lines() {
            let mut fields = case.splitn(3, '\t');
            let (hash, words) = (fields.next().unwrap(), fields.next().unwrap());
            let message: String = serde_json::from_str(fields.next().unwrap()).unwrap();
            let (found, text, _) = pattern(&message);
            assert_eq!((&*text, &*found), (words, hash), "{message}");
        }
        assert!(cases.lines().count() > 100);
    }

    /// Tab-separated: whether they are, both messages as JSON strings.
    #[test]
    fn patterns_are_one_that_differ_in_one_word() {
        let cases = include_str!("../../../tests/fixtures/logs/alike.tsv");
        for case in cases.lines() {
            let mut fields = case.split('\t').map(|field| serde_json::from_str(field).unwrap());
            let expected = fields.next().unwrap();
            let [one, other] = [(); 2].map(|()| fields.next().unwrap());
            let words = |message: &serde_json::Value| pattern(message.as_str().unwrap()).2;
            assert_eq!(serde_json::json!(alike(&words(&one), &words(&other))), expected, "{case}");
        }
        assert!(cases.lines().count() > 10);
    }

    proptest! {
        #[test]
        fn any_text_has_a_pattern(text in "[ \\\\\"'\\[\\](){}a-fxg0-9.=:é-]{0,200}") {
            let (_, words, numbers) = pattern(&text);
            prop_assert_eq!(words.split_whitespace().count(), numbers.len());
        }
    }
}
