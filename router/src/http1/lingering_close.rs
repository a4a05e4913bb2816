//! Lingering close of a connection whose client may still be sending (RFC 9112 section 9.6).
//!
//! A socket that closes with unread bytes resets the connection, and the client loses the response that it was just
//! sent. Therefore the router closes its own side first, and discards what arrives for a short time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Time to discard bytes: some round trips. The connection counts as open meanwhile.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes to discard; a client that sends more is not reading its response.
const MAX_DISCARDED: usize = 4 << 20;
const PIECE: usize = 16 << 10;

/// State of a lingering close.
#[derive(Debug, Default)]
pub(super) struct LingeringClose {
    state: CloseState,
    discarded: usize,
}

#[derive(Debug, Default)]
enum CloseState {
    #[default]
    Open,
    HalfClosed(Pin<Box<Sleep>>),
    Closed,
}

impl LingeringClose {
    /// Shuts `stream` down for writing, then reads until the client closes it too or a limit is reached.
    pub(super) fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.state {
                CloseState::Open => {
                    ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
                    self.state = CloseState::HalfClosed(Box::pin(tokio::time::sleep(TIMEOUT)));
                }
                CloseState::HalfClosed(timeout) => {
                    let read = poll_discard(context, stream);
                    if read.is_pending() && timeout.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    match read {
                        Poll::Ready(Ok(length)) if length > 0 && self.discarded < MAX_DISCARDED => {
                            self.discarded += length;
                        }
                        _ => self.state = CloseState::Closed,
                    }
                }
                CloseState::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}

fn poll_discard<S: AsyncRead + Unpin>(
    context: &mut Context<'_>,
    stream: &mut S,
) -> Poll<io::Result<usize>> {
    let mut piece = [0; PIECE];
    let mut piece = ReadBuf::new(&mut piece);
    ready!(Pin::new(stream).poll_read(context, &mut piece))?;
    Poll::Ready(Ok(piece.filled().len()))
}
