//! Rewrites responses that curl accepts and hyper does not into a form that hyper accepts (pure).

/// Maximum length of a buffered line of the head, bytes; a longer line, and all that follows, is passed on unchanged.
const LINE: usize = 128 * 1024;

/// Beginning of a response that is normalized, in upper or lower case.
const BEGINNING: &[u8] = b"HTTP/1.";

/// Rewrites the bytes of a connection's responses: one blank after the version of the status line, the version in upper
/// case, no control characters in lines of the head, no plus sign before a length, and CR LF after each line of the
/// head and of the chunks. Bodies, and anything that is not HTTP/1, stay unchanged.
#[derive(Debug, Default)]
pub(super) struct Normalizer {
    at: NextByte,
    line: Vec<u8>,
    chunked: bool,
    interim: bool,
}

/// Position in a response of the next byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum NextByte {
    #[default]
    StatusLine,
    Header,
    /// The line with the length of a chunk; `digits` is false once they have ended.
    ChunkLength {
        length: u64,
        digits: bool,
        after: u8,
    },
    ChunkData(u64),
    /// The line end after the data of a chunk.
    ChunkEnd {
        after: u8,
    },
    /// Lines after the last chunk, up to an empty one.
    Trailer {
        empty: bool,
        after: u8,
    },
    /// Anything that is passed on unchanged.
    AsItIs,
}

impl Normalizer {
    /// Processes received bytes, and appends the result to `out`.
    pub(super) fn take(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        loop {
            let run = match self.at {
                NextByte::AsItIs => bytes.len(),
                NextByte::ChunkData(left) => bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
                _ => 0,
            };
            let (same, rest) = bytes.split_at_checked(run).unwrap_or((bytes, &[]));
            out.extend_from_slice(same);
            if let NextByte::ChunkData(left) = &mut self.at {
                *left = left.saturating_sub(run as u64);
                if *left == 0 {
                    self.at = NextByte::ChunkEnd { after: 0 };
                }
            }
            let Some((&byte, rest)) = rest.split_first() else { return };
            self.byte(byte, out);
            bytes = rest;
        }
    }

    /// Ends the connection: appends the buffered line.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.line);
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        if matches!(self.at, NextByte::StatusLine | NextByte::Header) {
            self.line.push(byte);
            let begun = self.line.iter().zip(BEGINNING).all(|(is, said)| is.eq_ignore_ascii_case(said));
            if self.at == NextByte::StatusLine && !begun || self.line.len() > LINE {
                self.at = NextByte::AsItIs;
                out.append(&mut self.line);
            } else if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.head_line(&line, out);
            }
            return;
        }
        // Lines of the chunks end with CR LF.
        let after = match self.at {
            NextByte::ChunkLength { after, .. }
            | NextByte::ChunkEnd { after }
            | NextByte::Trailer { after, .. } => after,
            _ => 0,
        };
        if byte == b'\n' && after != b'\r' {
            out.push(b'\r');
        }
        out.push(byte);
        self.at = match (self.at, byte) {
            (NextByte::ChunkLength { length: 0, .. } | NextByte::Trailer { empty: false, .. }, b'\n') => {
                NextByte::Trailer { empty: true, after: 0 }
            }
            (NextByte::ChunkLength { length, .. }, b'\n') => NextByte::ChunkData(length),
            (NextByte::ChunkLength { length, digits: true, .. }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                // hyper refuses a length over its limit.
                NextByte::ChunkLength { length: length.saturating_mul(16) | digit, digits: true, after: byte }
            }
            (NextByte::ChunkLength { length, .. }, _) => {
                NextByte::ChunkLength { length, digits: false, after: byte }
            }
            (NextByte::ChunkEnd { .. }, b'\n') => NextByte::ChunkLength { length: 0, digits: true, after: 0 },
            (NextByte::ChunkEnd { .. }, _) => NextByte::ChunkEnd { after: byte },
            (NextByte::Trailer { empty, .. }, b'\r') => NextByte::Trailer { empty, after: byte },
            (NextByte::Trailer { .. }, byte) if byte != b'\n' => {
                NextByte::Trailer { empty: false, after: byte }
            }
            _ => NextByte::AsItIs,
        };
    }

    /// Processes a complete line of the head.
    fn head_line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let line = line.trim_ascii_end();
        let first = self.at == NextByte::StatusLine;
        if first {
            let (version, rest) = line.split_at_checked(BEGINNING.len() + 1).unwrap_or((line, &[]));
            out.extend(version.to_ascii_uppercase());
            self.interim = rest.trim_ascii_start().starts_with(b"1");
            self.chunked = false;
            if rest.starts_with(b" ") {
                out.push(b' ');
            }
            out.extend(rest.trim_ascii_start().iter().copied().map(printable));
        } else {
            let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(0));
            let value = value.strip_prefix(b":").unwrap_or(value);
            let is = |field: &str| name.trim_ascii_end().eq_ignore_ascii_case(field.as_bytes());
            if is("transfer-encoding") {
                let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
                self.chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
            }
            match value.trim_ascii().strip_prefix(b"+") {
                Some(digits) if is("content-length") => {
                    out.extend_from_slice(name);
                    out.push(b':');
                    out.extend(digits.iter().copied().map(printable));
                }
                _ => out.extend(line.iter().copied().map(printable)),
            }
        }
        out.extend_from_slice(b"\r\n");
        self.at = match line {
            [] if self.interim => NextByte::StatusLine,
            [] if self.chunked => NextByte::ChunkLength { length: 0, digits: true, after: 0 },
            [] => NextByte::AsItIs,
            _ => NextByte::Header,
        };
    }
}

/// Replaces a control character by a blank, except NUL, which every client refuses.
fn printable(byte: u8) -> u8 {
    if byte.is_ascii_control() && !matches!(byte, 0 | b'\t') { b' ' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::Normalizer;

    /// The result, which is the same for every partition of the bytes.
    fn normalized(bytes: &[u8]) -> String {
        let by = |size: usize| {
            let (mut normalizer, mut out) = (Normalizer::default(), Vec::new());
            bytes.chunks(size).for_each(|some| normalizer.take(some, &mut out));
            normalizer.end(&mut out);
            out
        };
        let all = by(bytes.len());
        (1..bytes.len()).for_each(|size| assert_eq!(by(size), all, "{size}"));
        String::from_utf8(all).expect("it is text")
    }

    #[test]
    fn heads_and_lines_of_chunks_become_what_the_specification_says() {
        let head = "HTTP/1.1 200 OK\r\nX: a b\r\nContent-Length:2\r\n\r\n\n\r+";
        assert_eq!(normalized(b"http/1.1   200 OK\nX: a\rb\r\r\nContent-Length: +2\n\n\n\r+"), head);
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\n\na\r\r\n10\r\n0123456789\n12345\r\n\
                      0\r\nX: y\r\n\r\n\nrest";
        assert_eq!(normalized(chunks.as_bytes()), chunks);
        let bare =
            b"HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\ntransfer-encoding : gzip, Chunked\n\n2\n\r\n\n0\n\n";
        let whole = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding : gzip, Chunked\r\n\r\n\
                     2\r\n\r\n\r\n0\r\n\r\n";
        assert_eq!(normalized(bare), whole);
    }

    #[test]
    fn other_bytes_stay_as_they_are() {
        for other in ["SSH-2.0-x\n\n", "HTTQ\n", "HTTP/2.0  200 OK\n\n", "HT", "\n", "HTTP/1.1"] {
            assert_eq!(normalized(other.as_bytes()), other);
        }
        let long = format!("HTTP/1.1 {}\n\n", "x".repeat(200_000));
        let (mut normalizer, mut out) = (Normalizer::default(), Vec::new());
        normalizer.take(long.as_bytes(), &mut out);
        assert_eq!(out, long.as_bytes());
    }
}
