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
    brackets: Vec<char>,
    word: String,
    /// A number for each word, which stands for it where patterns are compared.
    pub words: Vec<u32>,
    /// The words with blanks between, as many as are wanted of them.
    pub text: String,
}

impl Patterns {
    /// The pattern of a message. Of its words, `longest` bytes are kept as text.
    pub fn of(&mut self, message: &str, longest: usize) -> Hash {
        let Self { outside, brackets, word, words, text } = self;
        outside.clear();
        words.clear();
        text.clear();
        take_out(message, brackets, outside);
        let mut hash = md5::Context::new();
        for field in outside.split_whitespace() {
            let field = field.trim_end_matches(['=', ':', ']', ',', ';']);
            if field.len() < 2 || is_hexadecimal(field) || is_uuid(field) {
                continue;
            }
            word.clear();
            word.extend(field.chars().filter(|character| !character.is_ascii_digit()));
            if !is_word(word) {
                continue;
            }
            if !words.is_empty() {
                hash.consume(b" ");
            }
            hash.consume(&*word);
            let room = longest.saturating_sub(text.len());
            if room > 0 && !words.is_empty() {
                text.push(' ');
            }
            text.push_str(word.get(..word.len().min(longest.saturating_sub(text.len()))).unwrap_or_default());
            words.push(number(word));
            if words.len() == WORDS {
                break;
            }
        }
        hash.finalize().0
    }
}

/// Whether two patterns are one: the same words, or as many of which one is another.
pub fn alike(one: &[u32], other: &[u32]) -> bool {
    one.len() == other.len() && one.iter().zip(other).filter(|(one, other)| one != other).nth(1).is_none()
}

/// Writes a text without what is in quotes and brackets to `outside`.
fn take_out(text: &str, brackets: &mut Vec<char>, outside: &mut String) {
    brackets.clear();
    let mut quote = None;
    let mut before = '\0';
    for character in text.chars() {
        let escaped = std::mem::replace(&mut before, character) == '\\';
        match character {
            '[' | '(' | '{' if quote.is_none() => brackets.push(character),
            ']' | ')' | '}' if brackets.last() == Some(&opening(character)) => {
                brackets.pop();
                continue;
            }
            '"' | '\'' if !escaped && brackets.is_empty() => match quote {
                None => quote = Some(character),
                Some(open) if open == character => {
                    quote = None;
                    continue;
                }
                Some(_) => {}
            },
            _ => {}
        }
        if quote.is_none() && brackets.is_empty() {
            outside.push(character);
        }
    }
}

fn opening(closing: char) -> char {
    match closing {
        ']' => '[',
        ')' => '(',
        _ => '{',
    }
}

/// `0x1f`, or four hexadecimal digits and more.
fn is_hexadecimal(field: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let prefixed = field.strip_prefix("0x").is_some_and(|rest| !rest.is_empty() && digits(rest));
    prefixed || (field.len() >= 4 && digits(field))
}

fn is_uuid(field: &str) -> bool {
    field.len() == 36
        && field.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Letters, with `.`, `_` and `-` inside.
fn is_word(word: &str) -> bool {
    let bytes = word.as_bytes();
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
        let hash = patterns.of(message, usize::MAX);
        (super::word(hash), patterns.text, patterns.words)
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

    #[test]
    fn only_so_many_bytes_of_the_words_are_kept() {
        let mut patterns = Patterns::default();
        let whole = patterns.of("order was refused by the bank", 500);
        assert_eq!(patterns.text, "order was refused by the bank");
        for longest in 0..30 {
            assert_eq!(patterns.of("order was refused by the bank", longest), whole);
            assert!(patterns.text.len() <= longest, "{longest}: {}", patterns.text);
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_pattern(text in "[ \\\\\"'\\[\\](){}a-fxg0-9.=:é-]{0,200}") {
            let (_, words, numbers) = pattern(&text);
            prop_assert_eq!(words.split_whitespace().count(), numbers.len());
        }
    }
}
