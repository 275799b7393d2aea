//! Screens of every size, as texts.

use super::super::app::App;
use super::super::history::tests::history;
use super::super::keys::Key;
use super::super::views::View;
use super::{cut, draw, width};
use crate::web::state::SourceStatus;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Color;
use std::time::Instant;

const ONE: &str = "conntrack_table_usage 210000\nconntrack_table_limit 262144\nconntrack_drop_total 1\nconntrack_found_total 5\n\
    container_restarts_total{container_name=\"\\u001b]0;x\u{202e}日本\u{1b}[31m\"} 1\n";
const TWO: &str = "conntrack_table_usage 210000\nconntrack_table_limit 262144\nconntrack_drop_total 4\nconntrack_found_total 6\n\
    container_restarts_total{container_name=\"\\u001b]0;x\u{202e}日本\u{1b}[31m\"} 1\n";

fn app(view: View) -> App {
    let mut app = App::new("http://127.0.0.1:9371".to_owned(), view);
    app.history = history(&[ONE, TWO]);
    let source = |name: &str, state: &str, warnings: Vec<String>| SourceStatus {
        source: name.to_owned(),
        state: state.to_owned(),
        last_success_seconds: Some(1.2),
        series: 40,
        warnings,
    };
    if let Some(now) = &mut app.history.now {
        now.sources = vec![
            source("conntrack", "up", Vec::new()),
            source(
                "sockets",
                "down",
                vec!["denied: it needs CAP_NET_ADMIN, which this process does not have".to_owned()],
            ),
        ];
    }
    app
}

#[expect(clippy::disallowed_methods, reason = "any time will do")]
fn drawn(app: &mut App, wide: u16, high: u16, colours: bool) -> (Vec<String>, Buffer) {
    let mut buffer = Buffer::empty(Rect::new(0, 0, wide, high));
    draw(app, &mut buffer, colours, Instant::now(), "12:00:00Z");
    let line = |y: u16| (0..wide).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    ((0..high).map(line).collect(), buffer)
}

#[test]
fn a_usual_terminal_has_the_sources_and_what_is_wrong() {
    let (lines, buffer) = drawn(&mut app(View::Sources), 80, 24, true);
    assert!(
        lines[0].starts_with("connscope 1.2.3  http://127.0.0.1:9371") && lines[0].ends_with("12:00:00Z"),
        "{lines:#?}"
    );
    assert!(lines[1].starts_with("FAILING sockets  table 210000 of 262144 (80.1 %)  drop 3/s"), "{lines:#?}");
    assert!(lines[3].starts_with("SOURCE▲") && lines[3].contains("STATE"), "{lines:#?}");
    assert!(lines[4].starts_with("conntrack") && lines[5].contains("denied: it needs"), "{lines:#?}");
    assert!(lines[5].ends_with('…') && width(&lines[5]) <= 80, "{lines:#?}");
    assert!(lines[23].starts_with("? help"), "{lines:#?}");
    assert!(buffer.content().iter().any(|cell| cell.fg == Color::Red));
    let (_, plain) = drawn(&mut app(View::Sources), 80, 24, false);
    assert!(plain.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
}

#[test]
fn a_narrow_terminal_keeps_names_the_sorted_column_and_the_selected_view() {
    let mut app = app(View::Table);
    for _ in 0..3 {
        app.press(Key::Character('s'));
    }
    let (lines, _) = drawn(&mut app, 40, 10, true);
    assert!(lines.iter().any(|line| line.contains("VALUE▼")), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.starts_with("table.limit") && line.ends_with("262144")),
        "{lines:#?}"
    );
    assert!(lines.iter().any(|line| line.contains("2 table")), "{lines:#?}");
    app.press(Key::Character('9'));
    let (lines, _) = drawn(&mut app, 40, 10, true);
    assert!(lines.iter().any(|line| line.contains("9 logs")), "{lines:#?}");
}

#[test]
fn no_size_and_no_state_is_too_much() {
    for view in View::ALL {
        for (wide, high) in [(0, 0), (1, 1), (3, 2), (10, 3), (40, 10), (200, 60)] {
            let mut app = app(view);
            app.press(Key::End);
            let _screen = drawn(&mut app, wide, high, true);
            app.press(Key::Character('?'));
            app.problem = Some("asking http://127.0.0.1:9371: no answer within 5s; trying again".to_owned());
            let _screen = drawn(&mut app, wide, high, true);
            let _empty = drawn(&mut App::new("here".to_owned(), view), wide, high, true);
        }
    }
}

#[test]
fn names_of_others_command_no_terminal() {
    let (lines, buffer) = drawn(&mut app(View::Containers), 80, 24, true);
    assert!(lines.iter().any(|line| line.contains('日')), "{lines:#?}");
    let hostile = |character: char| character.is_control() || character == '\u{202e}';
    assert!(!buffer.content().iter().any(|cell| cell.symbol().chars().any(hostile)), "{lines:#?}");
}

#[test]
fn a_failure_is_one_line_and_the_values_have_their_age() {
    let mut app = app(View::Table);
    app.problem = Some("asking http://127.0.0.1:9371: no answer within 5s; trying again".to_owned());
    let (lines, _) = drawn(&mut app, 80, 24, true);
    assert!(lines[23].starts_with("asking http://127.0.0.1:9371: no answer within 5s"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("found")), "the last values stay");
}

#[test]
fn texts_are_cut_by_the_cells_that_they_take() {
    assert_eq!(cut("abc", 3), "abc");
    assert_eq!(cut("abcd", 3), "ab…");
    assert_eq!(cut("日本語", 5), "日本…");
    assert_eq!(cut("日本語", 4), "日…");
    assert_eq!(cut("abc", 0), "");
    assert_eq!(cut("abc", 1), "…");
}
