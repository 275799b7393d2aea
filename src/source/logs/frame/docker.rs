//! Docker's `json-file`: an object a line, with `log`, `stream` and `time` (pure).
//!
//! `JSONLogs` in `github.com/moby/moby/daemon/logger/jsonfilelog/jsonlog`. What a process wrote without a line end is split
//! at 16 KiB (`daemon/logger/copier.go`); such a part is a record whose `log` does not end in `\n`.

use super::{Record, Stream};
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
}

/// The record of a line; `None` where it is no such object.
pub fn parse(line: &[u8]) -> Option<Record<'_>> {
    match std::str::from_utf8(line) {
        Ok(line) => object(line),
        Err(_) => object(&String::from_utf8_lossy(line))
            .map(|record| Record { text: Cow::Owned(record.text.into_owned()), ..record }),
    }
}

fn object(line: &str) -> Option<Record<'_>> {
    // A list of the values would do for serde.
    let line = Some(line).filter(|line| line.starts_with('{'))?;
    let Line { log, stream } = serde_json::from_str(line).ok()?;
    let stream = if stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
    let complete = log.ends_with('\n');
    let text = match log {
        Cow::Borrowed(log) => Cow::Borrowed(log.strip_suffix('\n').unwrap_or(log).as_bytes()),
        Cow::Owned(mut log) => {
            log.truncate(log.len() - usize::from(complete));
            Cow::Owned(log.into_bytes())
        }
    };
    Some(Record { stream, text, complete })
}

#[cfg(test)]
mod tests {
    use super::{Record, Stream, parse};

    const RECORD: &str =
        r#"{"log":"caf\u00e9 \"at\"\tnoon\n","stream":"stderr","time":"2026-11-26T05:00:00.000000001Z"}"#;

    #[test]
    fn a_record_is_what_was_written_to_its_stream() {
        let record = parse(RECORD.as_bytes()).unwrap();
        let text = "café \"at\"\tnoon".as_bytes();
        assert_eq!(record, Record { stream: Stream::Stderr, text: text.into(), complete: true });
        let part = parse(br#"{"log":"abc","stream":"stdout","time":""}"#).unwrap();
        assert_eq!((&*part.text, part.complete), (&b"abc"[..], false));
        let labels = br#"{"log":"\n","stream":"stdout","attrs":{"a":"b"},"time":""}"#;
        assert_eq!(parse(labels).map(|record| (record.text.len(), record.complete)), Some((0, true)));
    }

    #[test]
    fn what_is_not_utf_8_is_replaced_and_counted_all_the_same() {
        let record = parse(b"{\"log\":\"caf\xe9\\n\",\"stream\":\"stdout\"}").unwrap();
        assert_eq!(&*record.text, "caf\u{fffd}".as_bytes());
    }

    #[test]
    fn what_is_no_such_object_is_refused() {
        let lines: [&[u8]; 7] = [
            b"",
            b"{}",
            br#"{"log":7}"#,
            br#"{"stream":"stdout"}"#,
            br#"["log"]"#,
            b"\0\0\0\0{\"log\":\"a\\n\"}",
            b"text",
        ];
        for line in lines {
            assert_eq!(parse(line), None, "{}", String::from_utf8_lossy(line));
        }
        for end in 0..RECORD.len() {
            assert_eq!(parse(&RECORD.as_bytes()[..end]), None, "{end}");
        }
    }
}
