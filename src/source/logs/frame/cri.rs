//! The log of a container as containerd and CRI-O write it: `TIME STREAM TAGS TEXT` (pure).
//!
//! `docs/devel/.../kubelet-cri-logging.md` of Kubernetes and `pkg/kubelet/kuberuntime/logs/logs.go`: the first of the tags,
//! which are separated by `:`, is `P` for a part of a line and `F` for its end.

use super::{Record, Stream};
use std::borrow::Cow;

/// The record of a line; `None` where it is none.
pub fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let (time, stream, tags) = (fields.next()?, fields.next()?, fields.next()?);
    if !time.first()?.is_ascii_digit() || !time.contains(&b'T') {
        return None;
    }
    let stream = match stream {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let complete = match tags.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Record { stream, text: Cow::Borrowed(fields.next().unwrap_or_default()), complete })
}

#[cfg(test)]
mod tests {
    use super::{Record, Stream, parse};

    #[test]
    fn a_record_has_a_stream_and_says_whether_the_line_ends() {
        let whole = parse(b"2026-11-26T05:00:00.123456789Z stderr F panic: it broke  twice").unwrap();
        let text = b"panic: it broke  twice"[..].into();
        assert_eq!(whole, Record { stream: Stream::Stderr, text, complete: true });
        let part = parse(b"2026-11-26T05:00:00.123456789+01:00 stdout P abc").unwrap();
        assert_eq!((&*part.text, part.complete), (&b"abc"[..], false));
        assert!(parse(b"2026-11-26T05:00:00Z stdout F:tag abc").unwrap().complete);
        for empty in [&b"2026-11-26T05:00:00Z stdout F "[..], b"2026-11-26T05:00:00Z stdout F"] {
            assert!(parse(empty).unwrap().text.is_empty());
        }
    }

    #[test]
    fn what_is_no_such_record_is_refused() {
        let lines: [&[u8]; 7] = [
            b"",
            b"2026-11-26T05:00:00Z stdout",
            b"2026-11-26T05:00:00Z stdin F text",
            b"2026-11-26T05:00:00Z stdout X text",
            b"stdout F text",
            b"an error of the application",
            b"\0\0\0\0",
        ];
        for line in lines {
            assert_eq!(parse(line), None, "{}", String::from_utf8_lossy(line));
        }
    }
}
