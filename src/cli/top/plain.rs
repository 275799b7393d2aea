//! `connscope top` where stdout is no terminal: every reading as lines (pure).

use super::draw::width;
use super::history::History;
use super::summary;
use super::table::{Row, Table, table};
use super::views::View;
use std::fmt::Write;

#[cfg(test)]
mod tests;

/// Rows of each view, if no view is asked for.
const ROWS: usize = 10;

/// The last reading. `view` prints all rows of one view, otherwise the first of each.
pub(super) fn lines(history: &History, origin: &str, view: Option<View>) -> String {
    let Some(frame) = &history.now else { return String::new() };
    let clock = humantime::format_rfc3339_seconds(frame.clock);
    let mut text = format!("connscope {}  {origin}  {clock}\n", frame.version);
    let facts: Vec<String> = summary::facts(frame).into_iter().map(|fact| fact.text).collect();
    if !facts.is_empty() {
        let _infallible = writeln!(text, "{}", facts.join("  "));
    }
    for warning in &frame.warnings {
        let _infallible = writeln!(text, "warning: {warning}");
    }
    if frame.exposition.left_out > 0 {
        let _infallible = writeln!(text, "warning: {} samples over the limit", frame.exposition.left_out);
    }
    match view {
        Some(view) => of_view(&mut text, &table(frame, view, view.order(), ""), view, usize::MAX),
        None => {
            for view in View::ALL.into_iter().filter(|view| *view != View::All) {
                let table = table(frame, view, view.order(), "");
                if !table.rows.is_empty() {
                    of_view(&mut text, &table, view, ROWS);
                }
            }
        }
    }
    text.push('\n');
    text
}

fn of_view(text: &mut String, table: &Table, view: View, most: usize) {
    text.push('\n');
    if table.rows.is_empty() {
        let _infallible = writeln!(text, "{}", view.nothing());
        return;
    }
    let rows = table.rows.get(..most.min(table.rows.len())).unwrap_or_default();
    let cell = |row: &Row, place: usize| match place.checked_sub(1) {
        None => row.name.clone(),
        Some(place) => row.cells.get(place).map(|cell| cell.text.clone()).unwrap_or_default(),
    };
    let mut lines: Vec<Vec<String>> = vec![table.titles.iter().map(|title| (*title).to_owned()).collect()];
    lines.extend(rows.iter().map(|row| (0..table.titles.len()).map(|place| cell(row, place)).collect()));
    let columns = table.titles.len();
    let widths: Vec<usize> = (0..columns)
        .map(|place| {
            lines.iter().filter_map(|line| line.get(place)).map(|cell| width(cell).into()).max().unwrap_or(0)
        })
        .collect();
    for line in lines {
        let mut written = String::new();
        for (place, (cell, wide)) in line.iter().zip(&widths).enumerate() {
            let blanks = " ".repeat(wide.saturating_sub(width(cell).into()));
            let leads = place == 0 || (table.notes && place + 1 == columns);
            let gap = if place == 0 { "" } else { "  " };
            let (before, after) = if leads { ("", blanks.as_str()) } else { (blanks.as_str(), "") };
            let _infallible = write!(written, "{gap}{before}{cell}{after}");
        }
        let _infallible = writeln!(text, "{}", written.trim_end());
    }
    if table.rows.len() > rows.len() {
        let _infallible = writeln!(text, "{} more: --view {}", table.rows.len() - rows.len(), view.name());
    }
}
