//! State that the requests of one connection share: whether it is in use, and which request was rejected.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use crate::failure::Failure;
use crate::websocket::tunnel::Tunnel;

/// The requests of one connection.
#[derive(Default)]
pub(crate) struct ConnectionState {
    /// Requests whose responses have not ended.
    in_flight: AtomicU32,
    /// Requests that have started so far.
    started: AtomicU64,
    /// True if written bytes may not have reached the kernel yet.
    unflushed: AtomicBool,
    /// The rejected request, counted from 1, and the failure that its client gets. It is the last request of its
    /// connection.
    refused: OnceLock<(u64, Failure)>,
    /// Notified when the connection must be closed at once.
    abort: Notify,
    /// The dyno's end that an HTTP/1 connection continues with.
    tunnel: Mutex<Option<Box<Tunnel>>>,
}

impl ConnectionState {
    /// Counts a request as in flight until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlightGuard {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let state = self.clone();
        InFlightGuard(RequestHandle { state, number })
    }

    /// Waits until a request asks to abort the connection, whatever else is in flight on it.
    pub(crate) async fn aborted(&self) {
        self.abort.notified().await;
    }

    /// Takes the dyno's end that the connection continues with, if its last response has switched protocols.
    pub(crate) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Returns whether the connection has had a request.
    pub(crate) fn has_started(&self) -> bool {
        self.started.load(Ordering::Relaxed) > 0
    }

    /// Records that a request, counted from 1, must not be served.
    pub(crate) fn refuse(&self, request: u64, failure: Failure) {
        let _ = self.refused.set((request, failure));
    }

    /// Records that bytes are being written.
    pub(crate) fn written(&self) {
        self.unflushed.store(true, Ordering::Relaxed);
    }

    /// Records that all written bytes have reached the kernel.
    pub(crate) fn flushed(&self) {
        self.unflushed.store(false, Ordering::Relaxed);
    }

    /// Waits until the connection has been idle for `most`, or up to twice as long: no request in flight, no unflushed
    /// bytes.
    pub(crate) async fn idle_for(&self, most: Duration) {
        // No count has this value, so that the first check never ends the wait.
        let mut seen = u64::MAX;
        loop {
            tokio::time::sleep(most).await;
            let started = self.started.load(Ordering::Relaxed);
            let busy = self.in_flight.load(Ordering::Relaxed) > 0
                || self.unflushed.load(Ordering::Relaxed);
            if !busy && started == seen {
                return;
            }
            seen = if busy { u64::MAX } else { started };
        }
    }
}

/// One request of a connection.
#[derive(Clone)]
pub(crate) struct RequestHandle {
    state: Arc<ConnectionState>,
    number: u64,
}

impl RequestHandle {
    /// Returns the failure to answer with, if the validator rejected this request.
    pub(crate) fn refusal(&self) -> Option<&Failure> {
        let (number, failure) = self.state.refused.get()?;
        (*number == self.number).then_some(failure)
    }

    /// Has the connection continue with a dyno's end after the response.
    pub(crate) fn set_tunnel(&self, tunnel: Tunnel) {
        let slot = self.state.tunnel.lock();
        *slot.unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tunnel));
    }

    /// Closes the connection at once, since its client reads nothing.
    pub(crate) fn abort(&self) {
        self.state.abort.notify_one();
    }
}

/// Keeps its request counted as in flight until it is dropped.
pub(crate) struct InFlightGuard(RequestHandle);

impl InFlightGuard {
    /// Returns the request's handle.
    pub(crate) fn handle(&self) -> &RequestHandle {
        &self.0
    }

    /// Ties the guard to the response's body, so that the request ends with it.
    pub(crate) fn track<B>(self, body: B) -> TrackedBody<B> {
        TrackedBody {
            body,
            _in_flight: self,
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response's body that keeps its request in flight.
pub(crate) struct TrackedBody<B> {
    body: B,
    _in_flight: InFlightGuard,
}

impl<B: Body + Unpin> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
