//! The stream below HTTP: records the first bytes of the response, accepts the end of TLS without `close_notify`, and
//! normalizes heads and chunks.

use super::normalize::Normalizer;
use crate::peer::{FirstBytes, Protocol, protocol};
use crate::url::{Scheme, Url};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum number of bytes per read.
const READ: usize = 8 * 1024;

/// A stream that records its first bytes. An end without `close_notify` reads as an orderly end: hyper knows from
/// `Content-Length` and chunks whether a response is complete, and a response without either ends with the connection,
/// as in browsers and curl.
#[derive(Debug)]
pub struct ResponseStream<S> {
    stream: S,
    beginning: FirstBytes,
    normalizer: Normalizer,
    /// Normalized bytes, and the number of those that were passed on.
    normalized: Vec<u8>,
    passed: usize,
}

impl<S> ResponseStream<S> {
    /// Wraps a stream.
    pub fn new(stream: S) -> (Self, FirstBytes) {
        let beginning = FirstBytes::default();
        let stream = Self {
            stream,
            beginning: beginning.clone(),
            normalizer: Normalizer::default(),
            normalized: Vec::new(),
            passed: 0,
        };
        (stream, beginning)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ResponseStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &mut *self;
        loop {
            let left = stream.normalized.get(stream.passed..).unwrap_or_default();
            if let Some(some) = left.get(..left.len().min(buffer.remaining())).filter(|some| !some.is_empty())
            {
                buffer.put_slice(some);
                stream.passed += some.len();
                return Poll::Ready(Ok(()));
            }
            stream.normalized.clear();
            stream.passed = 0;
            let mut room = [0; READ];
            let mut read = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut stream.stream).poll_read(context, &mut read)) {
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Poll::Ready(Err(error)),
                _ended_or_read => {}
            }
            if read.filled().is_empty() {
                stream.normalizer.end(&mut stream.normalized);
                if stream.normalized.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            stream.beginning.read(read.filled());
            stream.normalizer.take(read.filled(), &mut stream.normalized);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ResponseStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The protocol of a peer that does not speak HTTP/1.1, by its first bytes, and what to change.
pub fn explain(beginning: &[u8], url: &Url) -> String {
    let (scheme, port) = (url.scheme().word(), url.port());
    match (beginning, protocol(beginning)) {
        ([], _) => format!("the peer closed the connection without a response to {scheme} on port {port}"),
        (_, Some(Protocol::Tls)) if url.scheme() == Scheme::Http => {
            format!("the peer speaks TLS on port {port}: write https:// instead of http://")
        }
        (_, Some(Protocol::Http2)) => format!(
            "the peer speaks HTTP/2 only on port {port}, as gRPC servers do, and connscope HTTP/1.1: probe it with kind: tcp{}",
            if url.scheme() == Scheme::Https { " or tls" } else { "" }
        ),
        (other, _) => {
            let said = crate::text::bounded_bytes(other, 40);
            format!("the peer does not speak HTTP on port {port}; its answer begins with {said:?}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::explain;
    use crate::url::Url;

    #[test]
    fn the_error_says_what_the_peer_speaks_and_what_to_change() {
        let plain = Url::parse("http://a:4317/").expect("it is one");
        let secure = Url::parse("https://a:4317/").expect("it is one");
        let said = |beginning: &[u8]| explain(beginning, &plain);
        assert!(said(&[0, 0, 18, 4, 0, 0, 0, 0, 0, 0]).contains("HTTP/2 only on port 4317"));
        assert!(said(&[0x15, 3, 1, 0, 2, 2, 70]).contains("write https:// instead of http://"));
        assert!(said(b"SSH-2.0-OpenSSH\r\n").contains("port 4317; its answer begins with \"SSH-2.0-OpenSSH"));
        assert!(said(b"").contains("without a response to http on port 4317"));
        assert!(explain(&[0, 0, 0, 4, 0, 0, 0, 0, 0], &secure).contains("kind: tcp or tls"));
    }
}
