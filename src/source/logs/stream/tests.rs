//! Messages from the pieces of a file.

use super::{SILENCE, Streams};
use crate::source::logs::frame::{Frame, LONGEST};
use crate::source::logs::lines::Lines;
use proptest::prelude::*;
use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a point in time, whichever")]
fn now() -> Instant {
    Instant::now()
}

/// The messages in the pieces of a file.
fn messages(frame: Frame, pieces: &[&[u8]]) -> Vec<String> {
    let (mut lines, mut streams, mut found) = (Lines::default(), Streams::default(), Vec::new());
    let now = now();
    for piece in pieces {
        lines.push(piece, frame.longest(), |line| {
            let Some(record) = frame.record(line) else { return };
            streams.record(&record, true, now, &mut |message| found.push(message.text.to_owned()));
        });
    }
    lines.end(|line| {
        let Some(record) = frame.record(line) else { return };
        streams.record(&record, true, now, &mut |message| found.push(message.text.to_owned()));
    });
    streams.end(true, &mut |message| found.push(message.text.to_owned()));
    assert_eq!(streams.held(), 0);
    found
}

#[test]
fn parts_of_both_streams_do_not_disturb_each_other() {
    let log = b"2026-11-26T05:00:00Z stdout P one\n2026-11-26T05:00:00Z stderr P two\n\
                2026-11-26T05:00:00Z stdout F  whole\n2026-11-26T05:00:00Z stderr F  halves\n";
    assert_eq!(messages(Frame::Cri, &[log]), ["one whole", "two halves"]);
}

#[test]
fn a_part_without_an_end_is_a_message_when_nothing_follows() {
    assert_eq!(messages(Frame::Cri, &[b"2026-11-26T05:00:00Z stdout P no end\n"]), ["no end"]);
}

#[test]
fn a_line_that_docker_has_split_is_one_message() {
    let parts = [16_384, 3_616].map(|length| "x".repeat(length));
    let log = format!(
        "{{\"log\":\"{}\",\"stream\":\"stdout\"}}\n{{\"log\":\"{}\\n\",\"stream\":\"stdout\"}}\n",
        parts[0], parts[1]
    );
    let found = messages(Frame::Docker, &[log.as_bytes()]);
    assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [20_000]);
}

#[test]
fn objects_are_messages_of_their_own() {
    let padding = "x".repeat(200);
    let object = format!(r#"{{"msg":"{padding}","time":"2026-11-26T05:00:00Z"}}"#);
    let log = format!("started at 05:00:00\n{object}\n{object}\n{object}\nno time\n  indented\n");
    let found = messages(Frame::Plain, &[log.as_bytes()]);
    assert_eq!(found, ["started at 05:00:00", &object, &object, &object, "no time\n  indented"]);
}

#[test]
fn a_message_ends_after_a_second_of_silence() {
    let (mut streams, mut found, began) = (Streams::default(), Vec::new(), now());
    let record = Frame::Plain.record(b"alone").unwrap();
    streams.record(&record, true, began, &mut |_| panic!("it is open"));
    streams.quiet(began + SILENCE / 2, &mut |_| panic!("it is open"));
    streams.quiet(began + SILENCE, &mut |message| found.push(message.text.to_owned()));
    assert_eq!((found.as_slice(), streams.held()), (&["alone".to_owned()][..], 0));
}

#[test]
fn parts_without_end_hold_64_kib_at_most() {
    let (mut streams, mut passed) = (Streams::default(), 0);
    let line = format!("2026-11-26T05:00:00Z stdout P {}", "x".repeat(16_000));
    for _ in 0..10 {
        let record = Frame::Cri.record(line.as_bytes()).unwrap();
        passed += streams.record(&record, true, now(), &mut |_| panic!("it has no end"));
    }
    assert_eq!((streams.held() as u64, streams.held() as u64 + passed), (LONGEST as u64, 160_000));
}

proptest! {
    #[test]
    fn messages_do_not_depend_on_how_the_file_is_read(
        log in "(2026-11-26T05:00:0[0-9]Z (stdout|stderr) [PFX] [ \ta-c0-9:{}\"é]{0,12}\n?){0,12}",
        cuts in proptest::collection::vec(0usize..400, 0..8),
    ) {
        let log = log.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(log.len())).collect();
        cuts.extend([0, log.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &log[cut[0]..cut[1]]).collect();
        for frame in [Frame::Cri, Frame::Plain] {
            prop_assert_eq!(messages(frame, &pieces), messages(frame, &[log]));
        }
    }

    #[test]
    fn any_bytes_are_messages_or_none(log in proptest::collection::vec(any::<u8>(), 0..400)) {
        for frame in [Frame::Cri, Frame::Plain, Frame::Docker] {
            messages(frame, &[&log]);
        }
    }
}
