//! Readings as lines.

use super::super::history::tests::history;
use super::super::views::View;
use super::lines;

#[test]
fn a_reading_is_lines_of_aligned_columns() {
    let one = "conntrack_table_usage 7\nconntrack_drop_total 1\n";
    let two = "conntrack_table_usage 7\nconntrack_drop_total 4\n";
    let text = lines(&history(&[one, two]), "here", Some(View::Table));
    assert_eq!(
        text,
        "connscope 1.2.3  here  2023-11-14T22:13:21Z\ntable 7  drop 3/s\n\n\
         METRIC       PER SECOND  OVER 10s  VALUE  p50  p95\n\
         drop                  3         3      4\n\
         table.usage                            7\n\n"
    );
    assert_eq!(lines(&history(&[]), "here", None), "");
}

#[test]
fn every_view_has_its_first_rows_if_none_is_asked_for() {
    let many = (0..30)
        .map(|cpu| format!("conntrack_unknown_total{{field=\"f{cpu:02}\"}} 1\n"))
        .collect::<Vec<_>>()
        .concat();
    let text = lines(&history(&[&many]), "here", None);
    assert!(text.contains("20 more: --view table") && text.contains("20 more: --view rates"), "{text}");
    let text = lines(&history(&[&many]), "here", Some(View::Probes));
    assert!(text.ends_with("\nno probes: set sources.probes\n\n"), "{text}");
}
