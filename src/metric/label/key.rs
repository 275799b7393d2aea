//! Keys of labels that only the configuration knows.
//!
//! A label is a small value that is copied and compared often, so a configured key is kept once for the life of the
//! process and a label holds its number.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Configured keys there may be in one process; targets that would bring more are refused.
pub const KEYS: usize = 64;

static WORDS: [OnceLock<Box<str>>; KEYS] = [const { OnceLock::new() }; KEYS];
static ADDING: Mutex<()> = Mutex::new(());

/// A configured key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u8);

impl Key {
    /// The key of a word; `None` where [`KEYS`] others are known already.
    pub fn of(word: &str) -> Option<Self> {
        let _one_at_a_time = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
        let index = WORDS.iter().position(|known| match known.get() {
            Some(known) => known.as_ref() == word,
            None => known.set(word.into()).is_ok(),
        })?;
        u8::try_from(index).ok().map(Self)
    }

    /// The first of these words for which there would be no room; nothing is taken. What is refused as a whole is not to
    /// take the room of what comes after it.
    pub fn too_many<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let known: Vec<&str> = WORDS.iter().map_while(|known| known.get().map(AsRef::as_ref)).collect();
        let mut new = BTreeSet::new();
        words.into_iter().filter(|word| !known.contains(word)).find(|word| {
            new.insert(*word);
            known.len() + new.len() > KEYS
        })
    }

    /// The key as it is written in the file.
    pub fn word(self) -> &'static str {
        WORDS.get(usize::from(self.0)).and_then(OnceLock::get).map_or("", AsRef::as_ref)
    }
}
