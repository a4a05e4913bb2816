//! Joins a client's connection with the end of a dyno, byte for byte.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use corundum_exchange::ConnectionLink;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until};

use super::frames::FrameTracker;
use crate::failure::Failure;

/// Time for the current frame to end and for the client to answer, when the router closes the connection.
const CLOSING: Duration = Duration::from_secs(5);
/// Bytes that are moved at once.
const PIECE: usize = 8 << 10;
/// A frame that closes with the status 1001: the server is going away (RFC 6455 section 7.4.1).
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// A connection that an app has taken over, before its client has it.
pub(crate) struct Tunnel {
    pub(crate) guest: UnixStream,
    /// Bytes of the dyno that followed its response.
    pub(crate) first: BytesMut,
    pub(crate) link: LinkGuard,
    /// Longest pause without a byte in either direction. A ping of the protocol is bytes.
    pub(crate) idle: Duration,
    /// Called with the end of the connection.
    pub(crate) on_end: TunnelEndHook,
}

/// The router's hold on a connection. The dyno learns when it is dropped.
pub(crate) struct LinkGuard(pub(crate) Arc<ConnectionLink>);

impl Drop for LinkGuard {
    fn drop(&mut self) {
        self.0.set_client_gone();
    }
}

/// Takes the end of a tunnel, also of one that never ran.
pub(crate) struct TunnelEndHook(pub(crate) Option<Box<dyn FnOnce(TunnelEnd) + Send>>);

impl TunnelEndHook {
    fn call(&mut self, end: TunnelEnd) {
        if let Some(hook) = self.0.take() {
            hook(end);
        }
    }
}

impl Drop for TunnelEndHook {
    fn drop(&mut self) {
        self.call(TunnelEnd {
            bytes: 0,
            failure: Some(Failure::ClientInterrupted),
        });
    }
}

/// The end of a tunnel.
pub(crate) struct TunnelEnd {
    /// Bytes that the client got.
    pub(crate) bytes: u64,
    /// The reason, if it is none of the client or the app.
    pub(crate) failure: Option<Failure>,
}

/// One direction of a tunnel.
#[derive(Default)]
struct Direction {
    /// Bytes that the receiver has not taken.
    pending: BytesMut,
    bytes: u64,
    has_ended: bool,
    is_shut: bool,
    needs_flush: bool,
}

impl Direction {
    /// Moves bytes until the sender has ended and the receiver knows it. `seen` gets what is read.
    fn poll<R, W>(
        &mut self,
        context: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        mut seen: impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            while !self.pending.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(context, &self.pending))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.pending.advance(written);
                self.bytes += written as u64;
                self.needs_flush = true;
            }
            // An idle connection holds no buffer.
            self.pending = BytesMut::new();
            if self.has_ended {
                if !self.is_shut {
                    ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                    self.is_shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            match Pin::new(&mut *from).poll_read(context, &mut piece) {
                Poll::Ready(Ok(())) if piece.filled().is_empty() => self.has_ended = true,
                Poll::Ready(Ok(())) => {
                    seen(piece.filled());
                    self.pending.extend_from_slice(piece.filled());
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.needs_flush {
                        ready!(Pin::new(&mut *to).poll_flush(context))?;
                        self.needs_flush = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

/// Phase of a tunnel that the router closes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// The tunnel goes on.
    No,
    /// The dyno's frame has to end first.
    Awaited,
    /// The client has been told.
    Told,
}

impl Tunnel {
    /// Passes bytes on until both sides have ended. `read_ahead` are bytes of the client that were read with its request; `ending` is
    /// ready when the node closes its connections.
    pub(crate) async fn run<C>(
        self,
        mut client: C,
        read_ahead: Bytes,
        ending: impl Future<Output = ()>,
    ) where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let Self {
            mut guest,
            first,
            // Held until the end.
            link,
            idle,
            mut on_end,
        } = self;
        let (mut to_client, mut to_guest) = (Direction::default(), Direction::default());
        let mut frames = FrameTracker::default();
        frames.advance(&first);
        to_client.pending = first;
        to_guest.pending.extend_from_slice(&read_ahead);
        let retired = link.0.retired();
        let mut closed = pin!(async {
            tokio::select! {
                () = retired => {}
                () = ending => {}
            }
        });
        let mut closing = Closing::No;
        let mut deadline = pin!(sleep_until(Instant::now() + idle));
        let failure = poll_fn(|context| {
            if closing == Closing::No && closed.as_mut().poll(context).is_ready() {
                closing = Closing::Awaited;
                deadline.as_mut().reset(Instant::now() + CLOSING);
            }
            let before = (to_client.bytes, to_guest.bytes);
            let mut result = Poll::Pending;
            if closing != Closing::Told {
                let seen = |bytes: &[u8]| frames.advance(bytes);
                result = to_client.poll(context, &mut guest, &mut client, seen);
            }
            if closing == Closing::Awaited && frames.is_at_boundary() && result.is_pending() {
                to_client.pending.extend_from_slice(&GOING_AWAY);
                to_client.has_ended = true;
                closing = Closing::Told;
            }
            if closing == Closing::Told {
                let mut nothing = tokio::io::empty();
                let told = to_client.poll(context, &mut nothing, &mut client, |_| {});
                if let Poll::Ready(Err(_)) = told {
                    return Poll::Ready(None);
                }
                result = Poll::Pending;
            }
            match result {
                // The app has closed: nothing that the client still sends has a reader.
                Poll::Ready(Ok(())) => return Poll::Ready(None),
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Failure::ClientInterrupted)),
                Poll::Pending => {}
            }
            match to_guest.poll(context, &mut client, &mut guest, |_| {}) {
                Poll::Ready(Ok(())) if closing == Closing::Told => return Poll::Ready(None),
                Poll::Ready(Ok(())) | Poll::Pending => {}
                // Either the client was reset, or the app has closed; its own direction tells.
                Poll::Ready(Err(_)) => {
                    to_guest.pending.clear();
                    to_guest.has_ended = true;
                    let _ = to_guest.poll(context, &mut client, &mut guest, |_| {});
                }
            }
            if before != (to_client.bytes, to_guest.bytes) && closing == Closing::No {
                deadline.as_mut().reset(Instant::now() + idle);
            }
            match deadline.as_mut().poll(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) if closing == Closing::No => {
                    Poll::Ready(Some(Failure::IdleConnection))
                }
                Poll::Ready(()) => Poll::Ready(None),
            }
        })
        .await;
        on_end.call(TunnelEnd {
            bytes: to_client.bytes,
            failure,
        });
    }
}
