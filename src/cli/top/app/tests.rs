//! Keys select views, columns and rows, filter and pause.

use super::super::history::tests::{frame, history};
use super::super::keys::Key;
use super::super::views::View;
use super::{App, Reaction};
use std::time::{Duration, Instant};

fn app() -> App {
    let mut app = App::new("here".to_owned(), View::Sources);
    app.history = history(&["conntrack_found_total 1\nconntrack_drop_total 2\n"]);
    app
}

fn type_in(app: &mut App, text: &str) {
    for character in text.chars() {
        app.press(Key::Character(character));
    }
}

#[test]
fn digits_and_tabs_select_views() {
    let mut app = app();
    for (key, view) in [
        (Key::Character('2'), View::Table),
        (Key::Character('0'), View::All),
        (Key::Tab, View::Sources),
        (Key::BackTab, View::All),
        (Key::Left, View::Logs),
        (Key::Right, View::All),
        (Key::Character('1'), View::Sources),
    ] {
        assert_eq!(app.press(key), Reaction::Draw);
        assert_eq!(app.view, view, "{key:?}");
    }
}

#[test]
fn each_view_keeps_its_order() {
    let mut app = app();
    app.press(Key::Character('2'));
    assert_eq!(app.order(), (0, false));
    app.press(Key::Character('s'));
    assert_eq!(app.order(), (1, true));
    app.press(Key::Character('r'));
    assert_eq!(app.order(), (1, false));
    app.press(Key::Character('<'));
    app.press(Key::Character('<'));
    assert_eq!(app.order(), (5, true), "from the first to the last");
    app.press(Key::Character('1'));
    assert_eq!(app.order(), (0, false));
}

#[test]
fn the_filter_takes_every_key_until_enter_and_escape_ends_it() {
    let mut app = app();
    app.press(Key::Character('2'));
    app.press(Key::Character('/'));
    type_in(&mut app, "qfound1");
    app.press(Key::Backspace);
    assert_eq!((app.filter.as_str(), app.view), ("qfound", View::Table));
    app.press(Key::Escape);
    app.press(Key::Character('/'));
    type_in(&mut app, "FOUND");
    app.press(Key::Enter);
    assert_eq!(app.table().rows.len(), 1);
    app.press(Key::Escape);
    assert_eq!(app.table().rows.len(), 2);
    app.press(Key::Character('/'));
    type_in(&mut app, &"x".repeat(1000));
    assert_eq!(app.filter.len(), 60);
    assert_eq!(app.press(Key::Interrupt), Reaction::Quit, "Ctrl-C ends in every state");
}

#[test]
fn scrolling_never_overflows() {
    let mut app = app();
    app.press(Key::End);
    app.press(Key::Down);
    app.press(Key::PageDown);
    assert_eq!(app.scroll, usize::MAX);
    app.press(Key::Home);
    app.press(Key::Up);
    app.press(Key::PageUp);
    assert_eq!(app.scroll, 0);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "any time will do")]
fn a_pause_ignores_readings_and_a_failure_is_said_until_the_next_reading() {
    let mut app = app();
    let began = Instant::now();
    app.press(Key::Character('p'));
    app.take(Ok(frame(began, 9, "conntrack_found_total 5\n")));
    assert_eq!(app.history.now.as_ref().unwrap().exposition.series, 2);
    app.press(Key::Character('p'));
    app.take(Err("asking http://a: no answer".to_owned()));
    assert_eq!(app.problem.as_deref(), Some("asking http://a: no answer"));
    app.take(Ok(frame(began, 9, "conntrack_found_total 5\n")));
    assert_eq!((app.problem.as_deref(), app.history.now.as_ref().unwrap().exposition.series), (None, 1));
    assert_eq!(app.age(began + Duration::from_secs(10)), None);
    assert_eq!(app.age(began + Duration::from_secs(14)), Some(5));
    assert_eq!(app.press(Key::Character('q')), Reaction::Quit);
}
