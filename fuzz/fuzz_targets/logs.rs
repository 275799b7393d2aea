//! A log, in pieces and at once: the same messages whatever is in it, each with a severity and a pattern.
#![no_main]

use connscope::source::logs::frame::{Frame, LONGEST};
use connscope::source::logs::lines::Lines;
use connscope::source::logs::pattern::Patterns;
use connscope::source::logs::severity::text;
use connscope::source::logs::stream::Streams;
use libfuzzer_sys::fuzz_target;
use std::time::Instant;

fuzz_target!(|data: &[u8]| {
    let [frame, at, log @ ..] = data else { return };
    let frame = [Frame::Plain, Frame::Docker, Frame::Cri][usize::from(*frame) % 3];
    let (one, other) = log.split_at(usize::from(*at).min(log.len()));
    assert_eq!(messages(frame, &[log]), messages(frame, &[one, other]));
});

fn messages(frame: Frame, pieces: &[&[u8]]) -> Vec<(String, &'static str, [u8; 16])> {
    let (mut lines, mut streams, mut patterns) = (Lines::default(), Streams::default(), Patterns::default());
    let (now, mut found, mut complete) = (Instant::now(), Vec::new(), Vec::new());
    for piece in pieces {
        lines.push(piece, frame.longest(), |line| complete.push(line.to_vec()));
    }
    lines.end(|line| complete.push(line.to_vec()));
    let mut take = |message: &str, known: Option<&'static str>| {
        assert!(message.len() <= LONGEST * 3, "what is not UTF-8 gets longer, and nothing else");
        let severity = known.unwrap_or_else(|| text::severity(message).word());
        patterns.of(message);
        found.push((message.to_owned(), severity, patterns.hash()));
    };
    for line in &complete {
        let Some(record) = frame.record(line) else { continue };
        streams.record(&record, true, now, &mut |message| {
            take(message.text, message.structured.map(|known| known.severity.word()));
        });
        assert!(streams.held() <= 4 * LONGEST);
    }
    streams
        .end(true, &mut |message| take(message.text, message.structured.map(|known| known.severity.word())));
    found
}
