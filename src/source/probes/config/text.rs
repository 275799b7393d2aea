//! Formats of requests and expected responses: regular expressions, hex digits, escapes (pure).

use regex_lite::{Regex, RegexBuilder};
use std::sync::Arc;

/// Maximum size of a compiled expression, bytes: about 2,000 characters. The duration of a match is proportional to
/// size times text: with this limit at most 1.5 seconds for 64 KiB; with the library's default of 10 MiB it would be
/// minutes.
const MAX_PATTERN_BYTES: usize = 64 * 1024;

/// Size of a compiled expression that matches within 50 ms, bytes: about 75 characters.
const SHORT: usize = 2560;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expression {
    /// The compiled regular expression.
    pub regex: Arc<Regex>,
    /// Whether a match may take more than 50 ms.
    pub long: bool,
}

/// Compiles a regular expression; `.` does not match a line break.
pub fn regular(text: &str) -> Result<Expression, String> {
    let compile = |limit: usize, long: bool| {
        let compiled = RegexBuilder::new(text).size_limit(limit).build();
        compiled.map(|regex| Expression { regex: Arc::new(regex), long })
    };
    compile(SHORT, false).or_else(|_| compile(MAX_PATTERN_BYTES, true)).map_err(|error| {
        let why = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if why.contains("size limit") {
            return format!(
                "expects `{text}`, which is too large to be matched in time: at most about 2,000 characters are allowed, \
                 and a counted repetition, `(abc){{9}}`, counts as its expansion"
            );
        }
        format!("expects `{text}`, which is not a regular expression: {why}")
    })
}

/// Decodes hex digits; blanks and colons between pairs are skipped.
pub fn unhex(text: &str) -> Result<Vec<u8>, String> {
    // The text may be secret, so the message does not have it.
    let wrong = || "has a key that ends in _hex and does not hold pairs of hex digits".to_owned();
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|character| !character.is_whitespace() && *character != ':')
        .map(|character| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.ok_or_else(wrong)?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong());
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Decodes the escapes of a text.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || "has an invalid escape in send: `\\` must be followed by r, n, t, 0, \\ or xNN".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match characters.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = characters.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2).ok_or_else(wrong)?
            }
            _ => return Err(wrong()),
        });
    }
    Ok(bytes)
}
