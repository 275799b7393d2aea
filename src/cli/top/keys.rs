//! Keys from the bytes of a terminal (pure).

#[cfg(test)]
mod tests;

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Character(char),
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    Tab,
    BackTab,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L.
    Redraw,
}

/// The keys of what was read at once. A sequence that means none of them is skipped.
pub(super) fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let key = match first {
            0x03 => Key::Interrupt,
            0x08 | 0x7f => Key::Backspace,
            b'\t' => Key::Tab,
            b'\r' | b'\n' => Key::Enter,
            0x0c => Key::Redraw,
            0x1a => Key::Suspend,
            0x1b => {
                let (key, left) = sequence(after);
                rest = left;
                match key {
                    Some(key) => key,
                    None => continue,
                }
            }
            byte if byte < b' ' => continue,
            byte if byte.is_ascii() => Key::Character(byte.into()),
            _ => {
                let (character, left) = beyond_ascii(first, after);
                rest = left;
                match character {
                    Some(character) => Key::Character(character),
                    None => continue,
                }
            }
        };
        keys.push(key);
    }
    keys
}

/// The key of what follows an escape character, and the bytes after it.
fn sequence(bytes: &[u8]) -> (Option<Key>, &[u8]) {
    let (Some((b'[' | b'O', parameters)), true) = (bytes.split_first(), bytes.len() > 1) else {
        // Escape alone, or Alt with another key, which is that key.
        return (bytes.is_empty().then_some(Key::Escape), bytes);
    };
    let Some(end) = parameters.iter().position(|byte| (0x40..=0x7e).contains(byte)) else {
        return (None, &[]);
    };
    let (parameters, rest) = parameters.split_at(end);
    let Some((&last, rest)) = rest.split_first() else { return (None, &[]) };
    let key = match (last, parameters) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
        (b'F', _) | (b'~', b"4" | b"8") => Key::End,
        (b'Z', _) => Key::BackTab,
        (b'~', b"5") => Key::PageUp,
        (b'~', b"6") => Key::PageDown,
        _ => return (None, rest),
    };
    (Some(key), rest)
}

fn beyond_ascii(first: u8, after: &[u8]) -> (Option<char>, &[u8]) {
    let more = match first {
        0xc2..=0xdf => 1,
        0xe0..=0xef => 2,
        0xf0..=0xf4 => 3,
        _ => return (None, after),
    };
    let Some((head, rest)) = after.split_at_checked(more) else { return (None, &[]) };
    let bytes = [&[first], head].concat();
    match std::str::from_utf8(&bytes) {
        Ok(text) => (text.chars().next(), rest),
        Err(_) => (None, after),
    }
}
