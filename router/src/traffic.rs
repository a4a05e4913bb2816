//! Whether a connection is in use. One that is not is closed: HTTP's own timeouts begin with a request's first byte, and
//! a client that never sends one, or that only answers pings, would keep its place for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};

/// The requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Requests whose responses have not ended.
    under_way: AtomicU32,
    /// Requests so far.
    begun: AtomicU64,
}

impl Traffic {
    /// Counts a request.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// Waits until no request has been under way for `most` or a little longer.
    pub(crate) async fn idle(&self, most: Duration) {
        let mut seen = (0, 0);
        loop {
            tokio::time::sleep(most).await;
            let begun = self.begun.load(Ordering::Relaxed);
            let under_way = self.under_way.load(Ordering::Relaxed);
            // At the first look a head may be about to time out, which has an answer of its own.
            let looks = if under_way == 0 && seen.0 == begun {
                seen.1 + 1
            } else {
                0
            };
            if looks == 2 {
                return;
            }
            seen = (begun, looks);
        }
    }
}

/// A request that is under way until this is dropped.
pub(crate) struct UnderWay(Arc<Traffic>);

impl UnderWay {
    /// Lets the request end with the body of its response.
    pub(crate) fn hold<B>(self, body: B) -> Held<B> {
        Held {
            body,
            _under_way: self,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response's body, and with it its request.
pub(crate) struct Held<B> {
    body: B,
    _under_way: UnderWay,
}

impl<B: Body + Unpin> Body for Held<B> {
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
