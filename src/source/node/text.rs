//! What the files of `/proc` that are read here have in common (pure): lines of words and decimal numbers.

use crate::text::bounded;

/// Why a file could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The last line has no end: a part of the file is missing.
    #[error("the text is cut off in line {0}")]
    CutOff(usize),
    /// A word that should be a number of at most 64 bits is none.
    #[error("line {line}: `{word}` is not a number of 64 bits")]
    Number {
        /// Number of the line, from 1.
        line: usize,
        /// The word, shortened.
        word: String,
    },
    /// A line has fewer words than any kernel writes.
    #[error("line {line} has {words} words")]
    Short {
        /// Number of the line, from 1.
        line: usize,
        /// Words that it has.
        words: usize,
    },
    /// A line that every kernel writes is missing.
    #[error("there is no line `{0}`")]
    Missing(&'static str),
}

/// The lines of a text with their numbers, from 1. A text whose last line has no end is refused: a number may be cut off.
pub fn lines(text: &str) -> Result<impl Iterator<Item = (usize, &str)>, Malformed> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(Malformed::CutOff(text.lines().count()));
    }
    Ok(text.lines().enumerate().map(|(index, line)| (index + 1, line)))
}

/// A decimal number without a sign.
pub fn number(word: &str, line: usize) -> Result<u64, Malformed> {
    // `parse` alone would take `+1`, which no kernel writes.
    let plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let number = if plain { word.parse().ok() } else { None };
    number.ok_or_else(|| Malformed::Number { line, word: bounded(word, 32) })
}
