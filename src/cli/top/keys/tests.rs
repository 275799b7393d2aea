//! Bytes as terminals send them.

use super::{Key, keys};

#[test]
fn keys_are_known_by_the_sequences_of_common_terminals() {
    for (bytes, expected) in [
        (&b"q"[..], &[Key::Character('q')][..]),
        (b"\x1b", &[Key::Escape]),
        (b"\x1b[A\x1bOB\x1b[C\x1bOD", &[Key::Up, Key::Down, Key::Right, Key::Left]),
        (b"\x1b[1;5A", &[Key::Up]),
        (
            b"\x1b[5~\x1b[6~\x1b[1~\x1b[4~\x1b[H\x1bOF",
            &[Key::PageUp, Key::PageDown, Key::Home, Key::End, Key::Home, Key::End],
        ),
        (
            b"\t\x1b[Z\r\x7f\x03\x1a\x0c",
            &[Key::Tab, Key::BackTab, Key::Enter, Key::Backspace, Key::Interrupt, Key::Suspend, Key::Redraw],
        ),
        (b"\x1b[200~a\x1b[<0;1;1M", &[Key::Character('a')]),
        (b"\x1b[12", &[]),
        (b"\x1bx", &[Key::Character('x')]),
        ("é日".as_bytes(), &[Key::Character('é'), Key::Character('日')]),
        (b"\xff\xc3", &[]),
        (b"\x00\x01", &[]),
    ] {
        assert_eq!(keys(bytes), expected, "{bytes:?}");
    }
}

#[test]
fn any_bytes_end() {
    for first in 0..=255 {
        for second in 0..=255 {
            let _keys = keys(&[0x1b, first, second, first]);
            let _keys = keys(&[first, second]);
        }
    }
}
