//! Observes a connection below its protocol: the first bytes of the peer, and how the connection ends.
//!
//! An HTTP client reports the end of a connection by one of several errors, depending on whether a read or a write
//! notices it first. Here it is one reason.

use crate::peer::FirstBytes;
use crate::tls::explain;
use rustls::Error as TlsError;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reason why a connection ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CloseReason {
    /// The peer closed it, orderly or not.
    Closed,
    /// A TLS error: an alert, or bytes that are not TLS.
    Tls(TlsError),
    /// Another error, such as the budget.
    Failed(String),
}

/// Observation of one connection. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionObservation {
    pub(crate) beginning: FirstBytes,
    end: Arc<OnceLock<CloseReason>>,
}

impl ConnectionObservation {
    /// The reason why the connection ended; `None` while it is open.
    pub(crate) fn end(&self) -> Option<&CloseReason> {
        self.end.get()
    }

    fn failed(&self, error: &Error) {
        let end = match explain::of_io(error) {
            _ if is_closed(error) => CloseReason::Closed,
            Some(tls) => CloseReason::Tls(tls.clone()),
            None => CloseReason::Failed(error.to_string()),
        };
        self.end.get_or_init(|| end);
    }
}

/// Whether an error means that the peer has closed the connection.
pub(super) fn is_closed(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof
    )
}

/// A stream that is observed.
pub(super) struct ObservedStream<S> {
    stream: S,
    observation: ConnectionObservation,
    /// The error of the last write, after which nothing can be written.
    unwritten: Option<Error>,
}

impl<S> ObservedStream<S> {
    pub(super) fn new(stream: S) -> (Self, ConnectionObservation) {
        let observation = ConnectionObservation::default();
        (Self { stream, observation: observation.clone(), unwritten: None }, observation)
    }
}

impl<S: AsyncRead + Unpin> ObservedStream<S> {
    /// Handles a failed write: received bytes are read first. A peer that refuses a certificate sends an alert and
    /// closes the connection, and the next write fails before the alert was read. The socket of a closed connection
    /// becomes readable, so this ends.
    fn unwritten<T>(&mut self, context: &mut Context<'_>, error: Error) -> Poll<Result<T>> {
        let mut bytes = [0; 512];
        let mut buffer = ReadBuf::new(&mut bytes);
        let error = match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Pending => {
                self.unwritten = Some(error);
                return Poll::Pending;
            }
            Poll::Ready(Err(said)) if !is_closed(&said) => said,
            Poll::Ready(_) => error,
        };
        self.observation.beginning.read(buffer.filled());
        self.observation.failed(&error);
        Poll::Ready(Err(error))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ObservedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &read {
            Poll::Ready(Ok(())) if buffer.filled().len() == before && room > 0 => {
                self.observation.end.get_or_init(|| CloseReason::Closed);
            }
            Poll::Ready(Ok(())) => {
                self.observation.beginning.read(buffer.filled().get(before..).unwrap_or_default());
            }
            Poll::Ready(Err(error)) => self.observation.failed(error),
            Poll::Pending => {}
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ObservedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if let Some(error) = self.unwritten.take() {
            return self.unwritten(context, error);
        }
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(Err(error)) => self.unwritten(context, error),
            written => written,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if let Some(error) = self.unwritten.take() {
            return self.unwritten(context, error);
        }
        match Pin::new(&mut self.stream).poll_write_vectored(context, slices) {
            Poll::Ready(Err(error)) => self.unwritten(context, error),
            written => written,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(error) = self.unwritten.take() {
            return self.unwritten(context, error);
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Err(error)) => self.unwritten(context, error),
            flushed => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
