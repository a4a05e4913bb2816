//! A response that is stored while it streams to its client and to the clients that wait for the same key.
//!
//! One task takes the body from the dyno as fast as it arrives, so that a slow client delays no other. Each client
//! reads the pieces through a [`FillReader`] of its own. A body that turns out too large to store is handed to its
//! first reader, which continues alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corundum_exchange::{BodyInterrupted, BodyReceiver};
use tokio::sync::watch;

use super::cached_response::CachedResponse;
use crate::body::memory_budget::PIECE;
use crate::fair_pool::PoolReservation;

/// End of a body.
#[derive(Debug, Clone)]
pub(crate) enum FillOutcome {
    /// It is complete, and stored unless it was purged meanwhile.
    Complete(Arc<CachedResponse>),
    /// It is larger than a stored response may be.
    TooLarge,
    /// It broke off.
    Failed(StreamFault),
}

/// Reason why a streamed body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamFault {
    /// The dyno ended, or the body is not as long as declared.
    Interrupted,
    /// The dyno sent nothing for too long.
    Stalled,
}

/// A body that is arriving.
#[derive(Debug)]
pub(crate) struct StreamingFill {
    /// The response without its body.
    pub(crate) head: Arc<CachedResponse>,
    /// Declared length of the body, if any.
    pub(crate) length: Option<u64>,
    state: Mutex<FillState>,
    progress: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct FillState {
    chunks: Vec<Bytes>,
    bytes: usize,
    outcome: Option<FillOutcome>,
    /// Rest of a body that is too large, for its first reader.
    rest: Option<BodyReceiver>,
}

/// Bounds of a fill.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FillLimits {
    /// Largest body in bytes.
    pub(crate) max_bytes: usize,
    /// Longest time between two pieces.
    pub(crate) idle: Duration,
}

impl StreamingFill {
    pub(crate) fn new(head: Arc<CachedResponse>, length: Option<u64>) -> Arc<Self> {
        let (progress, _) = watch::channel(());
        Arc::new(Self {
            head,
            length,
            state: Mutex::default(),
            progress,
        })
    }

    fn state(&self) -> MutexGuard<'_, FillState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the body from `stream`, within `limits` and as far as `reservation` can grow. `store` makes a stored
    /// response of a complete body.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut stream: BodyReceiver,
        limits: FillLimits,
        mut reservation: PoolReservation,
        store: impl FnOnce(Bytes) -> Arc<CachedResponse>,
    ) {
        let outcome = loop {
            match tokio::time::timeout(limits.idle, stream.recv()).await {
                Ok(Some(Ok(chunk))) => {
                    let mut state = self.state();
                    let fits = state.bytes + chunk.len() <= limits.max_bytes
                        && reservation.try_grow(chunk.len() + PIECE);
                    state.bytes += chunk.len();
                    state.chunks.push(chunk);
                    if !fits {
                        state.rest = Some(stream);
                        drop(state);
                        return self.end(FillOutcome::TooLarge);
                    }
                }
                Ok(None) => break self.complete(store),
                Ok(Some(Err(BodyInterrupted))) => {
                    break FillOutcome::Failed(StreamFault::Interrupted);
                }
                Err(_) => break FillOutcome::Failed(StreamFault::Stalled),
            }
            self.progress.send_replace(());
        };
        self.end(outcome);
    }

    fn complete(&self, store: impl FnOnce(Bytes) -> Arc<CachedResponse>) -> FillOutcome {
        let state = self.state();
        if self
            .length
            .is_some_and(|length| length != state.bytes as u64)
        {
            return FillOutcome::Failed(StreamFault::Interrupted);
        }
        // Copied even if it is a single chunk: a chunk may be a slice of a much larger buffer.
        let mut body = BytesMut::with_capacity(state.bytes);
        let chunks = state.chunks.iter();
        chunks.for_each(|chunk| body.extend_from_slice(chunk));
        drop(state);
        FillOutcome::Complete(store(body.freeze()))
    }

    fn end(&self, outcome: FillOutcome) {
        self.state().outcome = Some(outcome);
        self.progress.send_replace(());
    }

    /// Waits for the end of the body.
    pub(crate) async fn outcome(&self) -> FillOutcome {
        let mut progress = self.progress.subscribe();
        loop {
            if let Some(outcome) = self.state().outcome.clone() {
                return outcome;
            }
            if progress.changed().await.is_err() {
                return FillOutcome::Failed(StreamFault::Interrupted);
            }
        }
    }

    /// Reads the body from its beginning while it arrives.
    pub(crate) fn reader(self: Arc<Self>) -> FillReader {
        FillReader {
            progress: self.progress.subscribe(),
            source: ReaderSource::Fill(self),
            next: 0,
        }
    }
}

/// One client's position in a body that is arriving.
pub(crate) struct FillReader {
    source: ReaderSource,
    progress: watch::Receiver<()>,
    /// Index of the next chunk.
    next: usize,
}

enum ReaderSource {
    Fill(Arc<StreamingFill>),
    /// The rest of a body that is too large to be stored.
    Rest(BodyReceiver),
}

impl FillReader {
    /// Waits for the next piece; none at the end of the body. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`StreamFault`] when the body broke off.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, StreamFault> {
        loop {
            let fill = match &mut self.source {
                ReaderSource::Rest(rest) => {
                    let piece = rest.recv().await.transpose();
                    return piece.map_err(|BodyInterrupted| StreamFault::Interrupted);
                }
                ReaderSource::Fill(fill) => fill,
            };
            let (chunk, outcome) = {
                let state = fill.state();
                (state.chunks.get(self.next).cloned(), state.outcome.clone())
            };
            match (chunk, outcome) {
                (Some(chunk), _) => {
                    self.next += 1;
                    return Ok(Some(chunk));
                }
                (None, None) => {
                    if self.progress.changed().await.is_err() {
                        return Err(StreamFault::Interrupted);
                    }
                }
                (None, Some(FillOutcome::Complete(_))) => return Ok(None),
                (None, Some(FillOutcome::Failed(fault))) => return Err(fault),
                (None, Some(FillOutcome::TooLarge)) => {
                    let rest = fill.state().rest.take();
                    // Only one reader can continue. It drops the fill, and with it the chunks.
                    self.source = ReaderSource::Rest(rest.ok_or(StreamFault::Interrupted)?);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::cached_response::tests::page;
    use super::*;
    use crate::fair_pool::FairPool;

    #[tokio::test]
    async fn one_byte_pieces_are_bounded_by_their_memory_and_not_by_their_bytes() {
        let (pool, share, max_bytes) = (FairPool::new(96 << 10, 2), Arc::default(), 64 << 10);
        let fill = StreamingFill::new(Arc::new(page()), None);
        let (sender, stream) = mpsc::channel(1);
        let reservation = pool.of(&share).empty();
        let limits = FillLimits {
            max_bytes,
            idle: Duration::from_secs(5),
        };
        let store = |body| Arc::new(page().with_body(body));
        let filled = tokio::spawn(fill.clone().run(stream, limits, reservation, store));
        let mut sent = 0;
        while !filled.is_finished() {
            sender.send(Ok(Bytes::from_static(b"x"))).await.unwrap();
            tokio::task::yield_now().await;
            sent += 1;
        }
        assert!((64..1000).contains(&sent), "{sent}");
        assert!(matches!(fill.outcome().await, FillOutcome::TooLarge));
    }
}
