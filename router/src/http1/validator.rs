//! The stream between a connection's socket and hyper: passes valid HTTP/1 on, and detects HTTP/2.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::bad;
use super::framing::{MessageFraming, MessagePart, RejectedMessage};
use super::lingering_close::LingeringClose;
use crate::connection_state::ConnectionState;
use crate::failure::Failure;

/// Connection preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Placeholder for a rejected head. hyper answers it after the requests before it, so that responses keep their order.
const INSTEAD_OF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";
/// Placeholder for the rest of a rejected body, invalid at every position of a chunk's framing.
const INSTEAD_OF_CHUNK: &[u8] = b"\r\0";
/// Bytes read at once while a head arrives.
const PIECE: usize = 4096;

/// Protocol that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    Http1,
    Http2,
}

impl HttpVersion {
    /// Returns the name in logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

/// A stream that passes on valid HTTP/1, or every byte once the client speaks HTTP/2.
pub(crate) struct ValidatingIo<S> {
    stream: S,
    state: Arc<ConnectionState>,
    mode: ReadMode,
    /// Bytes that were read and not passed on: `ready` valid ones, then the beginning of a head.
    held: BytesMut,
    ready: usize,
    /// Time for a head to arrive.
    head_timeout: Duration,
    /// Deadline of the held head.
    deadline: Option<Pin<Box<Sleep>>>,
    linger: LingeringClose,
}

#[derive(Debug)]
enum ReadMode {
    Http1(MessageFraming),
    Http2,
    /// A message was rejected; nothing more is read.
    Refused,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ValidatingIo<S> {
    /// Validates `stream`. A head has `head_timeout` to arrive and may have `fields` header fields.
    pub(crate) fn new(
        stream: S,
        state: Arc<ConnectionState>,
        head_timeout: Duration,
        fields: usize,
    ) -> Self {
        Self {
            stream,
            state,
            mode: ReadMode::Http1(MessageFraming::new(fields)),
            held: BytesMut::new(),
            ready: 0,
            head_timeout,
            deadline: None,
            linger: LingeringClose::default(),
        }
    }

    /// Returns the stream and the bytes of the client that were read and not passed on, for another protocol. `None` if a message
    /// was rejected.
    pub(crate) fn into_stream(self) -> Option<(S, BytesMut)> {
        match self.mode {
            ReadMode::Refused => None,
            ReadMode::Http1(_) | ReadMode::Http2 => Some((self.stream, self.held)),
        }
    }

    /// Waits for the first bytes without holding a buffer. Returns `None` if the client closes the connection first.
    pub(crate) async fn detect_version(&mut self) -> io::Result<Option<HttpVersion>> {
        std::future::poll_fn(|context| self.poll_detect_version(context)).await
    }

    fn poll_detect_version(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<HttpVersion>>> {
        loop {
            let started = self.state.has_started();
            match &self.held[..] {
                [] => {}
                held if started || !PREFACE.starts_with(&held[..held.len().min(PREFACE.len())]) => {
                    return self.start_http1();
                }
                held if held.len() < PREFACE.len() => {
                    if self.poll_deadline(context).is_ready() {
                        return self.start_http1();
                    }
                }
                _ => {
                    self.mode = ReadMode::Http2;
                    self.ready = self.held.len();
                    self.deadline = None;
                    return Poll::Ready(Ok(Some(HttpVersion::Http2)));
                }
            }
            if ready!(self.poll_hold(context))? == 0 {
                if self.held.is_empty() {
                    return Poll::Ready(Ok(None));
                }
                return self.start_http1();
            }
        }
    }

    fn start_http1(&mut self) -> Poll<io::Result<Option<HttpVersion>>> {
        self.scan();
        Poll::Ready(Ok(Some(HttpVersion::Http1)))
    }

    /// Reads more bytes into `held`.
    fn poll_hold(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
        self.held.extend_from_slice(piece.filled());
        Poll::Ready(Ok(piece.filled().len()))
    }

    /// Finds the held bytes that may pass.
    fn scan(&mut self) {
        let ReadMode::Http1(framing) = &mut self.mode else {
            return;
        };
        match framing.advance(&self.held) {
            Ok(ready) => self.ready = ready,
            Err(refused) => {
                self.held.truncate(refused.passed);
                self.refuse(refused);
            }
        }
        if self.ready > 0 {
            self.deadline = None;
        }
    }

    /// Passes the valid bytes on, followed by a placeholder that makes the parser stop. The service answers with
    /// [`RequestHandle::refusal`](crate::connection_state::RequestHandle::refusal).
    fn refuse(&mut self, refused: RejectedMessage) {
        self.held.extend_from_slice(match refused.part {
            MessagePart::Head => INSTEAD_OF_HEAD,
            MessagePart::Body => INSTEAD_OF_CHUNK,
        });
        self.ready = self.held.len();
        self.mode = ReadMode::Refused;
        self.deadline = None;
        self.state.refuse(refused.request, refused.failure);
    }

    /// Rejects the held head.
    fn reject_head(&mut self, failure: Failure) {
        let ReadMode::Http1(framing) = &self.mode else {
            return;
        };
        let (request, part) = (framing.request(), framing.part());
        self.held.clear();
        self.refuse(RejectedMessage {
            passed: 0,
            request,
            failure,
            part,
        });
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let at = Instant::now() + self.head_timeout;
        let new = || Box::pin(tokio::time::sleep_until(at));
        self.deadline.get_or_insert_with(new).as_mut().poll(context)
    }

    /// Passes valid bytes to the parser.
    fn pass(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.ready.min(buffer.remaining());
        buffer.put_slice(&self.held[..length]);
        self.held.advance(length);
        self.ready -= length;
        if self.held.is_empty() {
            // Frees the buffer: only heads that arrive in pieces need it, and an idle connection must hold none.
            self.held = BytesMut::new();
        }
    }

    /// Reads directly into the parser's buffer, and holds back the beginning of an incomplete head.
    fn poll_direct(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let ReadMode::Http1(framing) = &mut self.mode else {
            return Poll::Ready(Ok(()));
        };
        let new = &buffer.filled()[before..];
        match framing.advance(new) {
            Ok(passed) if passed == new.len() => {}
            Ok(passed) => {
                self.held.extend_from_slice(&new[passed..]);
                buffer.set_filled(before + passed);
            }
            Err(refused) => {
                buffer.set_filled(before + refused.passed);
                self.refuse(refused);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the rest of the held head.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ready == 0 {
            match self.poll_hold(context) {
                Poll::Ready(Ok(0)) => self.reject_head(bad("The request ends in its head.")),
                Poll::Ready(Ok(_)) => self.scan(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(self.poll_deadline(context));
                    self.reject_head(Failure::Request(
                        StatusCode::REQUEST_TIMEOUT,
                        "The request's head did not arrive in time.",
                    ));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ValidatingIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.held.is_empty() {
            if matches!(this.mode, ReadMode::Refused) {
                return Poll::Pending;
            }
            let before = buffer.filled().len();
            ready!(this.poll_direct(context, buffer))?;
            if buffer.filled().len() > before || this.held.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        ready!(this.poll_head(context))?;
        this.pass(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ValidatingIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.state.written();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.state.written();
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.state.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, linger, .. } = &mut *self;
        linger.poll(context, stream)
    }
}
