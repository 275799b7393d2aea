//! What a peer speaks, told by the first bytes that it sends (pure).

use std::sync::{Arc, OnceLock};

/// Bytes that tell which protocol it is.
const LONGEST: usize = 64;

/// The first bytes that a peer has sent, once some have come. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct FirstBytes(Arc<OnceLock<Vec<u8>>>);

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TLS: a handshake or an alert.
    Tls,
    /// HTTP/1.0 or HTTP/1.1: a response.
    Http1,
    /// HTTP/2: a connection's first frame.
    Http2,
}

impl FirstBytes {
    /// These bytes were read; they are kept if they are the first.
    pub fn read(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.get_or_init(|| bytes.get(..LONGEST).unwrap_or(bytes).to_vec());
        }
    }

    /// The first bytes, none where none have come.
    pub fn bytes(&self) -> &[u8] {
        self.0.get().map_or(&[], Vec::as_slice)
    }

    /// The protocol that these bytes are of, where it is one that is known.
    pub fn protocol(&self) -> Option<Protocol> {
        protocol(self.bytes())
    }
}

/// The protocol that begins with these bytes.
pub fn protocol(beginning: &[u8]) -> Option<Protocol> {
    match beginning {
        // A record of TLS: a handshake or an alert (RFC 8446, section 5.1).
        [0x15 | 0x16, 3, ..] => Some(Protocol::Tls),
        // A frame of SETTINGS or GOAWAY on stream 0 (RFC 9113, section 4.1).
        [_, _, _, 4 | 7, _, 0, 0, 0, 0, ..] => Some(Protocol::Http2),
        response if response.get(..7).is_some_and(|first| first.eq_ignore_ascii_case(b"HTTP/1.")) => {
            Some(Protocol::Http1)
        }
        _ => None,
    }
}
