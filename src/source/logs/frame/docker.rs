//! Docker's `json-file`: an object a line, with `log`, `stream` and `time` (pure).
//!
//! `JSONLogs` in `github.com/moby/moby/daemon/logger/jsonfilelog/jsonlog`. What a process wrote without a line end is split
//! at 16 KiB (`daemon/logger/copier.go`); such a part is a record whose `log` does not end in `\n`.
//!
//! What Docker writes is read field by field, in the order in which it writes them. Any other object, or one with attributes, goes
//! to `serde_json`, which is also what the tests hold this against.

use super::{Record, Stream};
use memchr::memchr2;
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
    fields(line).or_else(|| match std::str::from_utf8(line) {
        Ok(line) => object(line),
        Err(_) => object(&String::from_utf8_lossy(line))
            .map(|record| Record { text: Cow::Owned(record.text.into_owned()), ..record }),
    })
}

/// The record of `{"log":"…","stream":"…","time":"…"}`; `None` where it is anything else. Its text may be no UTF-8.
fn fields(line: &[u8]) -> Option<Record<'_>> {
    let Log { text, complete, rest } = log(line.strip_prefix(br#"{"log":""#)?)?;
    let rest = rest.strip_prefix(br#","stream":"std"#)?;
    let (stream, rest) = match rest.strip_prefix(b"out") {
        Some(rest) => (Stream::Stdout, rest),
        None => (Stream::Stderr, rest.strip_prefix(b"err")?),
    };
    let time = rest.strip_prefix(br#"","time":""#)?.strip_suffix(br#""}"#)?;
    let of_time =
        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'.' | b'+' | b'T' | b'Z');
    time.iter().all(of_time).then_some(Record { stream, text, complete })
}

/// The value of `log`.
struct Log<'a> {
    /// Without the end of the line.
    text: Cow<'a, [u8]>,
    /// Whether it has one.
    complete: bool,
    /// What follows the value.
    rest: &'a [u8],
}

fn log(bytes: &[u8]) -> Option<Log<'_>> {
    let (text, rest) = upto_escape(bytes)?;
    // Most lines have no other escape.
    if let Some(rest) = rest.strip_prefix(br#"\n""#) {
        return Some(Log { text: Cow::Borrowed(text), complete: true, rest });
    }
    if let Some(rest) = rest.strip_prefix(b"\"") {
        return Some(Log { text: Cow::Borrowed(text), complete: false, rest });
    }
    let mut unescaped = Vec::with_capacity(bytes.len());
    unescaped.extend_from_slice(text);
    let mut rest = rest;
    while let Some(escape) = rest.strip_prefix(b"\\") {
        let after = unescape(escape, &mut unescaped)?;
        let (text, end) = upto_escape(after)?;
        unescaped.extend_from_slice(text);
        rest = end;
    }
    let complete = unescaped.last() == Some(&b'\n');
    unescaped.truncate(unescaped.len() - usize::from(complete));
    Some(Log { text: Cow::Owned(unescaped), complete, rest: rest.get(1..)? })
}

/// What is before the next escape or quote, and the rest, which begins with it.
fn upto_escape(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at(memchr2(b'"', b'\\', bytes)?);
    // JSON has no control characters as they are.
    text.iter().all(|byte| *byte >= b' ').then_some((text, rest))
}

/// Writes the character that an escape stands for, and returns what follows it.
fn unescape<'a>(escape: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (letter, mut rest) = escape.split_first()?;
    let byte = match letter {
        b'"' | b'\\' | b'/' => *letter,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'u' => {
            let mut code = hexadecimal(&mut rest)?;
            // Characters beyond the first 65,536 are two escapes (RFC 8259, section 7).
            if (0xd800..0xdc00).contains(&code) {
                rest = rest.strip_prefix(b"\\u")?;
                let low = hexadecimal(&mut rest)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                code = 0x1_0000 + ((code - 0xd800) << 10) + low;
            }
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    };
    out.push(byte);
    Some(rest)
}

/// The next four digits.
fn hexadecimal(bytes: &mut &[u8]) -> Option<u32> {
    let (digits, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
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
    use super::{Record, Stream, fields, object, parse};
    use proptest::prelude::*;

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
    fn what_is_not_utf_8_is_a_record_all_the_same() {
        let record = parse(b"{\"log\":\"caf\xe9\\n\",\"stream\":\"stdout\"}").unwrap();
        assert_eq!(&*record.text, "caf\u{fffd}".as_bytes());
        let record = parse(b"{\"log\":\"caf\xe9\\t\\n\",\"stream\":\"stdout\",\"time\":\"\"}").unwrap();
        assert_eq!(&*record.text, b"caf\xe9\t");
    }

    #[test]
    fn escapes_are_those_of_json() {
        let of = |log: &str| {
            let line = format!(r#"{{"log":"{log}","stream":"stdout","time":"2026-11-26T05:00:00Z"}}"#);
            assert_eq!(fields(line.as_bytes()).is_some(), object(&line).is_some(), "{log}");
            parse(line.as_bytes()).map(|record| String::from_utf8(record.text.into_owned()).unwrap())
        };
        let all = r#"\"\\\/\b\f\r\t\u001b\u00E9\u331f\ud83d\ude00 \n"#;
        assert_eq!(of(all).unwrap(), "\"\\/\u{8}\u{c}\r\t\u{1b}é\u{331f}\u{1f600} ");
        assert_eq!(of(r"\n\n").unwrap(), "\n");
        for refused in
            [r"\x", r"\u00g1", r"\u00", r"\ud83d", r"\ud83d\n", r"\ud83d\ud83d", r"\ude00", "\t", "\0", r"\"]
        {
            assert_eq!(of(refused), None, "{refused}");
        }
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

    proptest! {
        #[test]
        fn what_is_read_field_by_field_is_what_serde_json_reads(
            log in "[a-c\"\\\\/\u{0}-\u{1f}\u{7f}é\u{331f}\u{1f600}]{0,30}\n?",
            stream in "std(out|err|in)",
            (cut, byte) in (0usize..200, any::<u8>()),
        ) {
            let line = serde_json::json!({"log": log, "stream": stream}).to_string().replace('}', r#","time":"5Z"}"#);
            let text = log.strip_suffix('\n').unwrap_or(&log);
            let found = fields(line.as_bytes());
            prop_assert_eq!(&found, &object(&line).filter(|_| stream != "stdin"));
            prop_assert!(stream == "stdin" || *found.unwrap().text == *text.as_bytes());
            // With one byte changed, and cut off.
            let mut bytes = line.into_bytes();
            let at = cut % bytes.len();
            bytes[at] = byte;
            for bytes in [&bytes[..], &bytes[..at]] {
                let Ok(line) = std::str::from_utf8(bytes) else { continue };
                let (found, judge) = (fields(bytes), object(line));
                prop_assert!(found.is_none() || found == judge, "{line}");
            }
        }
    }
}
