//! The screen of `connscope top`, into a buffer of cells.

use super::app::App;
use super::shown::Unit;
use super::summary;
use super::table::{Row, Table};
use super::views::View;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::text::Span;
use std::time::Instant;

#[cfg(test)]
mod tests;

/// Blanks between two columns.
const GAP: u16 = 2;

/// Fewest cells of a name, where other columns can be left out for it.
const SHORTEST_NAME: u16 = 12;

const HELP: &[&str] = &[
    "1 to 9, 0     a view            Tab, Left, Right   the next or previous view",
    "Up, Down      scroll            PgUp, PgDn, Home, End",
    "s, S          sort by the next or previous column; r reverses the order",
    "/             filter: rows that contain a text; Esc ends it",
    "p, Space      pause             Ctrl-L             draw again",
    "q, Ctrl-C     quit              Ctrl-Z             suspend",
    "",
    "PER SECOND is since the reading before, OVER 10s over the last 10 to 20 s.",
    "Quantiles (p50, p95) are of the same time; without values in it, of all.",
    "RETRANS of groups is the share of segments that were retransmitted.",
    "Columns that do not fit are left out; the one that is sorted by is not.",
];

/// Writes texts, with or without colours.
struct Pen<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    colours: bool,
}

impl Pen<'_> {
    /// Writes from a column of a line on; returns the column after it.
    fn write(&mut self, x: u16, y: u16, text: &str, style: Style) -> u16 {
        if y >= self.area.height || x >= self.area.width {
            return x;
        }
        let left = self.area.width - x;
        let (x, _) = self.buffer.set_stringn(self.area.x + x, self.area.y + y, text, left.into(), style);
        x - self.area.x
    }

    fn right(&mut self, end: u16, y: u16, text: &str, style: Style) {
        self.write(end.saturating_sub(width(text)), y, text, style);
    }

    /// Writes into a column, to its left or its right.
    fn cell(&mut self, (x, wide): (u16, u16), y: u16, text: &str, style: Style, leads: bool) {
        let text = cut(text, wide);
        let indent = if leads { 0 } else { wide.saturating_sub(width(&text)) };
        self.write(x + indent, y, &text, style);
    }

    fn alarm(&self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.colours { style.fg(Color::Red) } else { style }
    }

    fn title(&self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.colours { style.fg(Color::Cyan) } else { style }
    }

    fn bar(&mut self, y: u16) {
        let style = Style::new().add_modifier(Modifier::REVERSED);
        self.write(0, y, &" ".repeat(self.area.width.into()), style);
    }
}

/// Cells that a text takes.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}

/// Draws everything. Corrects the scroll position of `app`, and sets the height of its page.
pub(super) fn draw(app: &mut App, buffer: &mut Buffer, colours: bool, now: Instant, clock: &str) {
    let area = buffer.area;
    buffer.reset();
    let mut pen = Pen { buffer, area, colours };
    let height = area.height;
    if height == 0 || area.width == 0 {
        return;
    }
    head(&mut pen, app, now, clock);
    // A low screen has the table, and no summary.
    let summary = u16::from(height >= 8);
    if summary == 1 {
        facts(&mut pen, app);
    }
    let tabs = 1 + summary;
    views(&mut pen, tabs, app.view);
    let first = tabs + 1;
    let last = height.saturating_sub(1);
    let rows = last.saturating_sub(first + 1);
    app.page = usize::from(rows).max(1);
    if app.help {
        for (y, line) in (first..last).zip(HELP) {
            pen.write(0, y, line, Style::new());
        }
    } else if app.history.now.is_none() {
        pen.write(0, first, "waiting for the first reading", Style::new());
    } else {
        let table = app.table();
        app.scroll = app.scroll.min(table.rows.len().saturating_sub(usize::from(rows)));
        if table.rows.is_empty() {
            let nothing =
                if app.filter.is_empty() { app.view.nothing() } else { "no row contains the filter" };
            pen.write(0, first, nothing, Style::new());
        } else {
            rows_of(&mut pen, &table, app, first, rows);
        }
        foot(&mut pen, app, last, table.rows.len());
        return;
    }
    foot(&mut pen, app, last, 0);
}

fn head(pen: &mut Pen<'_>, app: &App, now: Instant, clock: &str) {
    pen.bar(0);
    let style = Style::new().add_modifier(Modifier::REVERSED);
    let version = app.history.now.as_ref().map_or("", |frame| frame.version.as_str());
    pen.write(0, 0, &format!("connscope {version}  {}", app.origin), style);
    let state = match app.age(now) {
        _ if app.paused => " paused ".to_owned(),
        Some(age) => format!(" values of {age}s ago "),
        None => String::new(),
    };
    let end = pen.area.width;
    pen.right(end, 0, &format!("{state} {clock}"), style);
}

fn facts(pen: &mut Pen<'_>, app: &App) {
    let Some(frame) = &app.history.now else { return };
    let mut x = 0;
    for fact in summary::facts(frame) {
        if x > 0 {
            if x + GAP + width(&fact.text) > pen.area.width {
                break;
            }
            x += GAP;
        }
        let style = if fact.alarm { pen.alarm() } else { Style::new() };
        x = pen.write(x, 1, &fact.text, style);
    }
}

/// The names of the views. Where they do not fit, those around the selected one.
fn views(pen: &mut Pen<'_>, y: u16, selected: View) {
    let name = |(place, view): (usize, &View)| format!("{} {}", (place + 1) % 10, view.name());
    let names: Vec<String> = View::ALL.iter().enumerate().map(name).collect();
    let ends = |from: usize| {
        names.iter().enumerate().skip(from).scan(0, |x, (place, name)| {
            *x += width(name) + GAP;
            Some((place, *x - GAP))
        })
    };
    let shown =
        |from: usize| ends(from).any(|(place, end)| place == selected.index() && end <= pen.area.width);
    let from = (0..names.len()).find(|from| shown(*from)).unwrap_or_else(|| selected.index());
    let mut x = 0;
    for (place, name) in names.iter().enumerate().skip(from) {
        let style = if place == selected.index() {
            Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
        } else {
            Style::new()
        };
        x = pen.write(x, y, name, style) + GAP;
    }
}

fn foot(pen: &mut Pen<'_>, app: &App, y: u16, rows: usize) {
    if app.typing {
        pen.write(0, y, &format!("filter: {}_", app.filter), pen.title());
        return;
    }
    if let Some(problem) = &app.problem {
        pen.write(0, y, problem, pen.alarm());
        return;
    }
    let mut x = 0;
    if !app.filter.is_empty() {
        x = pen.write(x, y, &format!("filter: {}  ", app.filter), pen.title());
    }
    if let Some(frame) = &app.history.now
        && frame.exposition.left_out > 0
    {
        let left_out = Unit::Count.show(usize_as_f64(frame.exposition.left_out));
        x = pen.write(x, y, &format!("{left_out} samples over the limit  "), pen.alarm());
    }
    if let Some(warning) = app.history.now.as_ref().and_then(|frame| frame.warnings.first()) {
        pen.write(x, y, warning, pen.alarm());
        return;
    }
    let place = if rows > app.page {
        let last = (app.scroll + app.page).min(rows);
        format!("rows {} to {last} of {rows}  ", app.scroll + 1)
    } else {
        String::new()
    };
    pen.write(x, y, &format!("{place}? help  s sort  r reverse  / filter  p pause  q quit"), Style::new());
}

#[expect(clippy::cast_precision_loss, reason = "it is shown to people")]
fn usize_as_f64(number: usize) -> f64 {
    number as f64
}

/// Which columns fit: the place of each in the table, and its width; the first is that of the names.
pub(super) fn fitting(table: &Table, rows: &[Row], total: u16, sorted: usize) -> Vec<(usize, u16)> {
    let title = |place: usize| table.titles.get(place).map_or(0, |title| width(title));
    let name = rows.iter().map(|row| width(&row.name)).max().unwrap_or(0).max(title(0));
    let notes = table.notes.then(|| table.titles.len().saturating_sub(1));
    let cell = |place: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(place - 1));
        // The mark of the order takes a cell.
        let title = title(place) + u16::from(place == sorted);
        (place, cells.map(|cell| width(&cell.text)).max().unwrap_or(0).max(title))
    };
    let columns: Vec<(usize, u16)> =
        (1..table.titles.len()).filter(|place| Some(*place) != notes).map(cell).collect();
    let mut used = name.min((total / 5 * 2).max(SHORTEST_NAME)).min(total);
    let reserved = columns.iter().find(|(place, _)| *place == sorted).map_or(0, |(_, width)| width + GAP);
    used += reserved;
    let mut kept = Vec::new();
    for (place, width) in columns {
        let is_sorted = place == sorted;
        if is_sorted || used + width + GAP <= total {
            used += if is_sorted { 0 } else { width + GAP };
            kept.push((place, width));
        }
    }
    let others: u16 = kept.iter().map(|(_, width)| width + GAP).sum();
    let name = name.min(total.saturating_sub(others));
    let mut fitting = vec![(0, name)];
    fitting.extend(kept);
    let left = total.saturating_sub(name + others + GAP);
    if let Some(place) = notes
        && left > 0
    {
        fitting.push((place, left));
    }
    fitting
}

fn rows_of(pen: &mut Pen<'_>, table: &Table, app: &App, first: u16, height: u16) {
    let rows = table.rows.get(app.scroll..).unwrap_or_default();
    let rows = rows.get(..usize::from(height).min(rows.len())).unwrap_or_default();
    let (sorted, largest_first) = app.order();
    let columns = fitting(table, rows, pen.area.width, sorted);
    let mut x = 0;
    for &(place, wide) in &columns {
        let mark = match (place == sorted, largest_first) {
            (false, _) => "",
            (true, true) => "▼",
            (true, false) => "▲",
        };
        let title = format!("{}{mark}", table.titles.get(place).copied().unwrap_or_default());
        let style =
            if mark.is_empty() { pen.title() } else { pen.title().add_modifier(Modifier::UNDERLINED) };
        let leads = place == 0 || (table.notes && place + 1 == table.titles.len());
        pen.cell((x, wide), first, &title, style, leads);
        for (y, row) in (first + 1..).zip(rows) {
            let cell = place.checked_sub(1).and_then(|place| row.cells.get(place));
            let text = cell.map_or(row.name.as_str(), |cell| cell.text.as_str());
            let style = if cell.is_some_and(|cell| cell.alarm) { pen.alarm() } else { Style::new() };
            pen.cell((x, wide), y, text, style, leads);
        }
        x += wide + GAP;
    }
}

/// A text in at most so many cells, its end replaced by `…` where it is longer.
pub(super) fn cut(text: &str, wide: u16) -> String {
    if width(text) <= wide {
        return text.to_owned();
    }
    let mut kept = String::new();
    for character in text.chars() {
        kept.push(character);
        if width(&kept) + 1 > wide {
            kept.pop();
            break;
        }
    }
    if wide > 0 {
        kept.push('…');
    }
    kept
}
