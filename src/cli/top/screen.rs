//! `connscope top` on a terminal: readings and keys in, screens out.

#![expect(clippy::disallowed_methods, reason = "the age of what is shown is shown")]

use super::app::{App, Reaction};
use super::draw::draw;
use super::history::Frame;
use super::keys::keys;
use super::terminal::{Keyboard, restore};
use crate::stop::Stop;
use crate::timeouts::GLANCE;
use ratatui_core::terminal::Terminal;
use rustix::process::{Signal, kill_current_process_group};
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Instant, SystemTime};

/// Shows readings until a key or a signal ends it, or, if `most` is set, until so many came.
pub(super) fn run(
    app: &mut App,
    readings: &Receiver<Result<Frame, String>>,
    most: Option<u64>,
    colours: bool,
    stop: &Stop,
) -> io::Result<()> {
    restore_in_panics();
    let keyboard = Keyboard::of_process()?;
    let mut terminal = Terminal::new(keyboard.backend()?)?;
    terminal.clear()?;
    let mut left = most;
    let mut drawn = None;
    while !stop.draining() {
        let clock = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let clock = clock.get(11..).unwrap_or_default();
        let now = (clock.to_owned(), terminal.size()?);
        if drawn.as_ref() != Some(&now) {
            terminal.draw(|frame| draw(app, frame.buffer_mut(), colours, Instant::now(), clock))?;
            drawn = Some(now);
            if left == Some(0) {
                return Ok(());
            }
        }
        let Some(typed) = keyboard.read(GLANCE) else { return Ok(()) };
        for key in keys(&typed) {
            match app.press(key) {
                Reaction::Quit => return Ok(()),
                Reaction::Draw => {}
                Reaction::Redraw => terminal.clear()?,
                Reaction::Suspend => {
                    restore();
                    kill_current_process_group(Signal::TSTP)?;
                    keyboard.enter()?;
                    terminal.clear()?;
                }
            }
            drawn = None;
        }
        match readings.try_recv() {
            Ok(reading) => {
                app.take(reading);
                left = left.map(|left| left.saturating_sub(1));
                drawn = None;
            }
            Err(TryRecvError::Empty) => {}
            // The stop ends it, too.
            Err(TryRecvError::Disconnected) if stop.draining() => {}
            Err(TryRecvError::Disconnected) => {
                return Err(io::Error::other(
                    "the thread that reads has ended: this is a defect of connscope",
                ));
            }
        }
    }
    Ok(())
}

/// A panic of this thread is told on the screen from before; one of a source changes nothing on it.
fn restore_in_panics() {
    let own = std::thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == own {
            restore();
            before(panic);
        }
    }));
}
