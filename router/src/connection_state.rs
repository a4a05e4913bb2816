//! What goes over one connection: whether it is in use, and what must not be served.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use crate::failure::Failure;

/// The requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    /// Requests whose responses have not ended.
    in_flight: AtomicU32,
    /// Requests so far.
    begun: AtomicU64,
    /// Whether bytes were written that may not have reached the kernel.
    unflushed: AtomicBool,
    /// The request that must not be served, from 1, and what its client is told. It is the last of its connection.
    refused: OnceLock<(u64, Failure)>,
    /// Told when the connection is to be cut.
    cut: Notify,
}

impl ConnectionState {
    /// Counts a request.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlightGuard {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let state = self.clone();
        InFlightGuard(RequestHandle { state, number })
    }

    /// Waits until the connection is to be cut, whatever else is under way on it.
    pub(crate) async fn cut(&self) {
        self.cut.notified().await;
    }

    /// Whether there has been a request.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    /// Says that a request, counted from 1, must not be served.
    pub(crate) fn refuse(&self, request: u64, failure: Failure) {
        let _ = self.refused.set((request, failure));
    }

    /// Notes that bytes are being written.
    pub(crate) fn written(&self) {
        self.unflushed.store(true, Ordering::Relaxed);
    }

    /// Notes that all bytes have been written.
    pub(crate) fn flushed(&self) {
        self.unflushed.store(false, Ordering::Relaxed);
    }

    /// Waits until no request has been under way for `most`, or up to twice as long.
    pub(crate) async fn quiet(&self, most: Duration) {
        // No number of requests, so that the first look is never the last.
        let mut seen = u64::MAX;
        loop {
            tokio::time::sleep(most).await;
            let begun = self.begun.load(Ordering::Relaxed);
            let busy = self.in_flight.load(Ordering::Relaxed) > 0
                || self.unflushed.load(Ordering::Relaxed);
            if !busy && begun == seen {
                return;
            }
            seen = if busy { u64::MAX } else { begun };
        }
    }
}

/// A request of a connection.
#[derive(Debug, Clone)]
pub(crate) struct RequestHandle {
    state: Arc<ConnectionState>,
    number: u64,
}

impl RequestHandle {
    /// What its client is told, if it must not be served.
    pub(crate) fn refusal(&self) -> Option<&Failure> {
        let (number, failure) = self.state.refused.get()?;
        (*number == self.number).then_some(failure)
    }

    /// Has the connection cut, since its client takes nothing.
    pub(crate) fn cut(&self) {
        self.state.cut.notify_one();
    }
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlightGuard(RequestHandle);

impl InFlightGuard {
    /// Which one it is.
    pub(crate) fn handle(&self) -> &RequestHandle {
        &self.0
    }

    /// Lets the request end with the body of its response.
    pub(crate) fn hold<B>(self, body: B) -> TrackedBody<B> {
        TrackedBody {
            body,
            _under_way: self,
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response's body, and with it its request.
pub(crate) struct TrackedBody<B> {
    body: B,
    _under_way: InFlightGuard,
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
