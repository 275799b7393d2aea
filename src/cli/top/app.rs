//! The state of the screen, and what keys change (pure).

use super::history::{Frame, History};
use super::keys::Key;
use super::table::{Order, Table, table};
use super::views::View;
use std::time::Instant;

#[cfg(test)]
mod tests;

/// Longest filter, in characters.
const LONGEST_FILTER: usize = 60;

/// State of the screen: the readings, and what the keys have chosen of them.
#[derive(Debug)]
pub(super) struct App {
    /// The readings.
    pub(super) history: History,
    /// Where they come from, for people.
    pub(super) origin: String,
    /// Why the last reading failed.
    pub(super) problem: Option<String>,
    /// The selected view.
    pub(super) view: View,
    /// Rows above the first that is shown.
    pub(super) scroll: usize,
    /// Text that rows have to contain.
    pub(super) filter: String,
    /// Whether keys go into the filter.
    pub(super) typing: bool,
    /// Whether new readings are ignored.
    pub(super) paused: bool,
    /// Whether the keys are explained instead.
    pub(super) help: bool,
    orders: [Order; View::ALL.len()],
    /// Rows that fit on the screen.
    pub(super) page: usize,
}

/// What the caller has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Draw.
    Draw,
    /// Draw every cell.
    Redraw,
    /// Stop the process, as the shell's job control does.
    Suspend,
    /// End.
    Quit,
}

impl App {
    /// Without a reading.
    pub(super) fn new(origin: String, view: View) -> Self {
        Self {
            history: History::default(),
            origin,
            problem: None,
            view,
            scroll: 0,
            filter: String::new(),
            typing: false,
            paused: false,
            help: false,
            orders: View::ALL.map(View::order),
            page: 10,
        }
    }

    /// Takes a reading, or why there is none.
    pub(super) fn take(&mut self, reading: Result<Frame, String>) {
        match reading {
            Ok(_) if self.paused => {}
            Ok(frame) => {
                self.history.push(frame);
                self.problem = None;
            }
            Err(why) => self.problem = Some(why),
        }
    }

    /// Order of the selected view.
    pub(super) fn order(&self) -> Order {
        self.orders.get(self.view.index()).copied().unwrap_or_default()
    }

    /// Table of the selected view.
    pub(super) fn table(&self) -> Table {
        let filter = self.filter.to_lowercase();
        self.history
            .now
            .as_ref()
            .map(|frame| table(frame, self.view, self.order(), &filter))
            .unwrap_or_default()
    }

    /// Whole seconds since the last reading, if that is more than two of them.
    pub(super) fn age(&self, now: Instant) -> Option<u64> {
        let age = now.saturating_duration_since(self.history.now.as_ref()?.at).as_secs();
        (age > 2).then_some(age)
    }

    /// Reacts to a key.
    pub(super) fn press(&mut self, key: Key) -> Reaction {
        match key {
            Key::Interrupt => return Reaction::Quit,
            Key::Suspend => return Reaction::Suspend,
            Key::Redraw => return Reaction::Redraw,
            key if self.typing => self.edit(key),
            _ if self.help => self.help = false,
            Key::Character('q') => return Reaction::Quit,
            Key::Character('?' | 'h') => self.help = true,
            Key::Character('p' | ' ') => self.paused = !self.paused,
            Key::Character('/') => self.typing = true,
            Key::Escape => self.filter.clear(),
            Key::Character('s' | '>') => self.sort_by(1),
            Key::Character('S' | '<') => self.sort_by(-1),
            Key::Character('r') => self.reverse_order(),
            Key::Character(digit @ '0'..='9') => {
                let place = digit.to_digit(10).map_or(0, |digit| (digit as usize + 9) % 10);
                self.select(place);
            }
            Key::Tab | Key::Right => self.select(self.view.index() + 1),
            Key::BackTab | Key::Left => self.select(self.view.index() + View::ALL.len() - 1),
            Key::Up | Key::Character('k') => self.scroll = self.scroll.saturating_sub(1),
            Key::Down | Key::Character('j') => self.scroll = self.scroll.saturating_add(1),
            Key::PageUp => self.scroll = self.scroll.saturating_sub(self.page),
            Key::PageDown => self.scroll = self.scroll.saturating_add(self.page),
            Key::Home | Key::Character('g') => self.scroll = 0,
            Key::End | Key::Character('G') => self.scroll = usize::MAX,
            Key::Character(_) | Key::Enter | Key::Backspace => {}
        }
        Reaction::Draw
    }

    fn edit(&mut self, key: Key) {
        match key {
            Key::Enter => self.typing = false,
            Key::Escape => {
                self.typing = false;
                self.filter.clear();
            }
            Key::Backspace => drop(self.filter.pop()),
            Key::Character(character) if self.filter.chars().count() < LONGEST_FILTER => {
                self.filter.push(character);
            }
            _ => {}
        }
        self.scroll = 0;
    }

    fn select(&mut self, place: usize) {
        if let Some(view) = View::ALL.get(place % View::ALL.len()) {
            self.view = *view;
            self.scroll = 0;
        }
    }

    fn sort_by(&mut self, step: isize) {
        let columns = self.table().titles.len();
        if let Some((column, largest_first)) = self.orders.get_mut(self.view.index())
            && columns > 0
        {
            *column = column.saturating_add_signed(step.rem_euclid(columns.cast_signed())) % columns;
            // Names begin with A, numbers with the largest.
            *largest_first = *column != 0;
        }
        self.scroll = 0;
    }

    fn reverse_order(&mut self) {
        if let Some((_, largest_first)) = self.orders.get_mut(self.view.index()) {
            *largest_first = !*largest_first;
        }
        self.scroll = 0;
    }
}
