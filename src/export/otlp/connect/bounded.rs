//! A limit on the bytes that a receiver may send in response to a message.

use std::io::{Error, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum number of bytes read in response to a message. A response has some hundred; reading stops if a receiver
/// sends more (endless interim responses, RFC 9110, section 15.2, or a large page).
const MAX_ANSWER: u64 = 1024 * 1024;

/// Number of bytes that may still be read from a connection.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<AtomicU64>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(MAX_ANSWER)))
    }

    /// Resets the budget for the next message.
    pub(crate) fn renew(&self) {
        self.0.store(MAX_ANSWER, Ordering::Relaxed);
    }
}

/// A stream that fails to read when the budget is exhausted.
pub(super) struct Bounded<S> {
    stream: S,
    budget: Budget,
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S, budget: &Budget) -> Self {
        Self { stream, budget: budget.clone() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        let left = self.budget.0.load(Ordering::Relaxed);
        if read > left {
            let why =
                format!("the receiver sent more than {} KiB in answer to one message", MAX_ANSWER / 1024);
            return Poll::Ready(Err(Error::other(why)));
        }
        self.budget.0.store(left - read, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    /// Vectored writes send a message with its headers and trailers in one system call instead of five.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
