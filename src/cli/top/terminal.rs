//! The terminal: raw mode and the alternate screen, restored in every case, and the backend that ratatui draws with.
//!
//! ratatui's own backends are crossterm and termion, which bring 20 and 9 packages; what is needed of them are the few control
//! sequences of ECMA-48 below, which every terminal has that is in use.

use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, open};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Alternate screen, hidden cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";

/// Default colours, cursor, main screen.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// Size of a terminal that does not know its own.
const USUAL: Size = Size::new(80, 24);

/// What has to be restored, of the one terminal that a process has.
static SAVED: Mutex<Option<Saved>> = Mutex::new(None);

struct Saved {
    input: OwnedFd,
    output: File,
    before: Termios,
}

/// Restores the terminal, if it was changed.
pub(super) fn restore() {
    let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Saved { input, mut output, before }) = saved {
        // A terminal that is gone needs nothing.
        let _gone = output.write_all(LEAVE);
        let _gone = tcsetattr(&input, OptionalActions::Now, &before);
    }
}

/// The keyboard of a terminal in raw mode, restored when this is dropped.
#[derive(Debug)]
pub(super) struct Keyboard {
    input: OwnedFd,
    output: File,
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        restore();
    }
}

impl Keyboard {
    /// That of this process: stdin, or the controlling terminal if stdin is something else.
    pub(super) fn of_process() -> io::Result<Self> {
        let stdin = io::stdin();
        let input = if stdin.is_terminal() {
            rustix::io::fcntl_dupfd_cloexec(&stdin, 3)?
        } else {
            open("/dev/tty", OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, rustix::fs::Mode::empty())?
        };
        Self::of(input, rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?.into())
    }

    /// Of a terminal that is read and written by these.
    pub(super) fn of(input: OwnedFd, output: File) -> io::Result<Self> {
        let keyboard = Self { input, output };
        keyboard.enter()?;
        Ok(keyboard)
    }

    /// Changes the terminal, for the first time or after [`restore`].
    pub(super) fn enter(&self) -> io::Result<()> {
        let before = tcgetattr(&self.input)?;
        let saved = Saved {
            input: self.input.try_clone()?,
            output: self.output.try_clone()?,
            before: before.clone(),
        };
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        let mut raw = before;
        raw.make_raw();
        tcsetattr(&self.input, OptionalActions::Now, &raw)?;
        (&self.output).write_all(ENTER)
    }

    /// What was typed, if anything is within a time; `None` if the terminal is gone.
    pub(super) fn read(&self, within: Duration) -> Option<Vec<u8>> {
        let time = Timespec::try_from(within).ok();
        let mut ready = [PollFd::new(&self.input, PollFlags::IN)];
        match poll(&mut ready, time.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Some(Vec::new()),
            Ok(_) => {}
            Err(_) => return None,
        }
        let mut bytes = [0; 256];
        match rustix::io::read(&self.input, &mut bytes) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Some(Vec::new()),
            Err(_) | Ok(0) => None,
            Ok(count) => Some(bytes.get(..count).unwrap_or_default().to_vec()),
        }
    }

    /// The backend of the same terminal.
    pub(super) fn backend(&self) -> io::Result<Escapes> {
        Ok(Escapes { output: self.output.try_clone()?, pending: Vec::new() })
    }
}

/// Draws by control sequences. What is drawn is written with one call, by [`Backend::flush`].
#[derive(Debug)]
pub(super) struct Escapes {
    output: File,
    pending: Vec<u8>,
}

fn colour(colour: Color, base: u8) -> Option<u8> {
    let colour = match colour {
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        _ => return None,
    };
    Some(base + colour)
}

impl Escapes {
    fn style(&mut self, cell: &Cell) -> io::Result<()> {
        self.pending.extend(b"\x1b[0");
        let modifiers =
            [(Modifier::BOLD, 1), (Modifier::DIM, 2), (Modifier::UNDERLINED, 4), (Modifier::REVERSED, 7)];
        let modifiers = modifiers.iter().filter(|(modifier, _)| cell.modifier.contains(*modifier));
        let codes = modifiers.map(|(_, code)| *code).chain(colour(cell.fg, 30)).chain(colour(cell.bg, 40));
        for code in codes {
            write!(self.pending, ";{code}")?;
        }
        self.pending.push(b'm');
        Ok(())
    }

    fn go(&mut self, Position { x, y }: Position) -> io::Result<()> {
        write!(self.pending, "\x1b[{};{}H", y.saturating_add(1), x.saturating_add(1))
    }
}

impl Backend for Escapes {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let mut next = None;
        let mut style = None;
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                self.go(Position { x, y })?;
            }
            // After a wide character the position is set, which costs nothing.
            next = Some((x.saturating_add(1), y));
            if style != Some((cell.fg, cell.bg, cell.modifier)) {
                self.style(cell)?;
                style = Some((cell.fg, cell.bg, cell.modifier));
            }
            self.pending.extend(cell.symbol().as_bytes());
        }
        self.pending.extend(b"\x1b[0m");
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.pending.extend(b"\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.pending.extend(b"\x1b[?25h");
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        // The cursor is hidden, and nothing depends on where it is.
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.go(position.into())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.pending.extend(b"\x1b[0m\x1b[2J");
        Ok(())
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.pending.extend(match region {
            ClearType::All => b"\x1b[2J",
            ClearType::AfterCursor => b"\x1b[0J",
            ClearType::BeforeCursor => b"\x1b[1J",
            ClearType::CurrentLine => b"\x1b[2K",
            ClearType::UntilNewLine => b"\x1b[0K",
        });
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        let size = tcgetwinsize(&self.output).map_or(USUAL, |size| Size::new(size.ws_col, size.ws_row));
        Ok(if size.width == 0 || size.height == 0 { USUAL } else { size })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        let drawn = self.output.write_all(&self.pending);
        self.pending.clear();
        drawn
    }
}
