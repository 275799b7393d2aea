//! A pseudo-terminal that is changed and restored.

use super::{ENTER, Keyboard, LEAVE};
use crate::cli::top::keys::{Key, keys};
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Style};
use ratatui_core::terminal::{Terminal, TerminalOptions, Viewport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

fn pair() -> (File, File) {
    let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&outer).unwrap();
    unlockpt(&outer).unwrap();
    let name = ptsname(&outer, Vec::new()).unwrap();
    let inner =
        OpenOptions::new().read(true).write(true).open(std::ffi::OsStr::from_bytes(name.as_bytes())).unwrap();
    (File::from(outer), inner)
}

/// What was written, as soon as it is so: a pseudo-terminal hands it over in parts.
fn written(outer: &mut File, is_all: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !is_all(&bytes) {
        let mut polled = [PollFd::new(outer, PollFlags::IN)];
        let within = Timespec { tv_sec: 5, tv_nsec: 0 };
        assert_eq!(poll(&mut polled, Some(&within)), Ok(1), "{bytes:?}");
        let mut part = [0; 8192];
        let count = outer.read(&mut part).unwrap();
        bytes.extend_from_slice(&part[..count]);
    }
    bytes
}

fn is_raw(inner: &File) -> bool {
    !tcgetattr(inner)
        .unwrap()
        .local_modes
        .intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
}

/// One test, because a process has one terminal.
#[test]
fn a_terminal_is_restored_when_it_is_left_and_when_it_panics() {
    let (mut outer, inner) = pair();
    let keyboard = Keyboard::of(inner.try_clone().unwrap().into(), inner.try_clone().unwrap()).unwrap();
    assert!(is_raw(&inner));
    assert_eq!(written(&mut outer, |bytes| bytes.len() >= ENTER.len()), ENTER);
    outer.write_all(b"\x1b[Aq\x03").unwrap();
    let typed = keyboard.read(Duration::from_secs(5)).unwrap();
    assert_eq!(keys(&typed), [Key::Up, Key::Character('q'), Key::Interrupt]);
    assert_eq!(keyboard.read(Duration::ZERO), Some(Vec::new()));

    let area = Viewport::Fixed(Rect::new(0, 0, 10, 2));
    let mut terminal =
        Terminal::with_options(keyboard.backend().unwrap(), TerminalOptions { viewport: area }).unwrap();
    let style = Style::new().fg(Color::Red);
    let ok = |frame: &mut ratatui_core::terminal::Frame<'_>| {
        frame.buffer_mut().set_stringn(2, 1, "ok", 9, style);
    };
    terminal.draw(ok).unwrap();
    let drawn = b"\x1b[2;3H\x1b[0;31mok";
    written(&mut outer, |bytes| bytes.windows(drawn.len()).any(|part| part == drawn));
    drop(terminal);
    drop(keyboard);
    assert!(!is_raw(&inner));
    written(&mut outer, |bytes| bytes.ends_with(LEAVE));

    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _keyboard = Keyboard::of(inner.try_clone().unwrap().into(), inner.try_clone().unwrap()).unwrap();
        assert!(!is_raw(&inner), "this is how the test panics");
    }));
    assert!(panicked.is_err() && !is_raw(&inner));
    written(&mut outer, |bytes| bytes.ends_with(LEAVE));
}
