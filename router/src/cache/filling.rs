//! A response on its way into the store: it streams to its client and to those who have waited for it meanwhile.
//!
//! A task takes the body from the dyno as fast as it comes, so that no slow client holds up the others. A body that
//! turns out too large is handed to its first client, who goes on with it alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corundum_exchange::{BodyInterrupted, BodyReceiver, Reservation};
use tokio::sync::{mpsc, watch};

use super::stored::Stored;
use crate::body::memory_budget::PIECE;

/// How a body has ended.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// It is complete, and stored if it may be.
    Complete(Arc<Stored>),
    /// It is larger than an entry may be.
    TooLarge,
    /// It broke off.
    Broken,
}

/// A body of which some is there.
#[derive(Debug)]
pub(crate) struct Filling {
    /// The response without its body.
    pub(crate) head: Arc<Stored>,
    /// How long it is to be, if that is known.
    pub(crate) length: Option<u64>,
    state: Mutex<State>,
    progress: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    chunks: Vec<Bytes>,
    bytes: usize,
    ending: Option<Ending>,
    /// What is left of a body that was too large.
    rest: Option<BodyReceiver>,
}

impl Filling {
    pub(crate) fn new(head: Arc<Stored>, length: Option<u64>) -> Arc<Self> {
        let (progress, _) = watch::channel(());
        Arc::new(Self {
            head,
            length,
            state: Mutex::default(),
            progress,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the body from `stream`, at most `most` bytes for as long as `taken` can grow and none is silent for longer
    /// than `idle`. `store` makes an entry of it.
    pub(crate) async fn fill(
        self: Arc<Self>,
        mut stream: BodyReceiver,
        (most, idle): (usize, Duration),
        mut reservation: Reservation,
        store: impl FnOnce(Bytes) -> Arc<Stored>,
    ) {
        let ending = loop {
            match tokio::time::timeout(idle, stream.recv()).await {
                Ok(Some(Ok(chunk))) => {
                    let mut state = self.state();
                    let fits = state.bytes + chunk.len() <= most
                        && reservation.try_grow(chunk.len() + PIECE);
                    state.bytes += chunk.len();
                    state.chunks.push(chunk);
                    if !fits {
                        state.rest = Some(stream);
                        drop(state);
                        return self.end(Ending::TooLarge);
                    }
                }
                Ok(None) => break self.complete(store),
                Ok(Some(Err(BodyInterrupted))) | Err(_) => break Ending::Broken,
            }
            self.progress.send_replace(());
        };
        self.end(ending);
    }

    fn complete(&self, store: impl FnOnce(Bytes) -> Arc<Stored>) -> Ending {
        let state = self.state();
        if self
            .length
            .is_some_and(|length| length != state.bytes as u64)
        {
            return Ending::Broken;
        }
        // In room of its own, be it one chunk: that is a part of a buffer that may be many times as large.
        let mut body = BytesMut::with_capacity(state.bytes);
        let chunks = state.chunks.iter();
        chunks.for_each(|chunk| body.extend_from_slice(chunk));
        drop(state);
        Ending::Complete(store(body.freeze()))
    }

    fn end(&self, ending: Ending) {
        self.state().ending = Some(ending);
        self.progress.send_replace(());
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> Ending {
        let mut progress = self.progress.subscribe();
        loop {
            if let Some(ending) = self.state().ending.clone() {
                return ending;
            }
            if progress.changed().await.is_err() {
                return Ending::Broken;
            }
        }
    }

    /// The body from its beginning, as it comes.
    pub(crate) fn read(self: Arc<Self>) -> BodyReceiver {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(self.copy_to(sender));
        receiver
    }

    async fn copy_to(self: Arc<Self>, to: mpsc::Sender<Result<Bytes, BodyInterrupted>>) {
        let mut progress = self.progress.subscribe();
        let mut next = 0;
        loop {
            let (chunk, ending) = {
                let state = self.state();
                (state.chunks.get(next).cloned(), state.ending.clone())
            };
            match (chunk, ending) {
                (Some(chunk), _) => {
                    next += 1;
                    if to.send(Ok(chunk)).await.is_err() {
                        return;
                    }
                }
                (None, None) => {
                    tokio::select! {
                        changed = progress.changed() => if changed.is_err() { return },
                        () = to.closed() => return,
                    }
                }
                (None, Some(Ending::Complete(_))) => return,
                (None, Some(Ending::TooLarge)) => return self.go_on(to).await,
                (None, Some(Ending::Broken)) => {
                    let _ = to.send(Err(BodyInterrupted)).await;
                    return;
                }
            }
        }
    }

    /// Goes on with what is left of a body that is not stored. Only one can.
    async fn go_on(self: Arc<Self>, to: mpsc::Sender<Result<Bytes, BodyInterrupted>>) {
        let Some(mut rest) = self.state().rest.take() else {
            let _ = to.send(Err(BodyInterrupted)).await;
            return;
        };
        // The chunks are not needed any more.
        drop(self);
        while let Some(item) = rest.recv().await {
            if to.send(item).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stored::tests::page;
    use super::*;
    use corundum_exchange::BoundedCounter;

    #[tokio::test]
    async fn one_byte_pieces_are_bounded_by_their_memory() {
        let (budget, most) = (BoundedCounter::new(64 << 10), 64 << 10);
        let filling = Filling::new(Arc::new(page()), None);
        let (sender, stream) = mpsc::channel(1);
        let reservation = budget.try_reserve(0).unwrap();
        let limits = (most, Duration::from_secs(5));
        let store = |body| Arc::new(page().with_body(body));
        let filled = tokio::spawn(filling.clone().fill(stream, limits, reservation, store));
        let mut sent = 0;
        while !filled.is_finished() {
            sender.send(Ok(Bytes::from_static(b"x"))).await.unwrap();
            tokio::task::yield_now().await;
            sent += 1;
        }
        assert!((64..1000).contains(&sent), "{sent}");
        assert!(matches!(filling.ended().await, Ending::TooLarge));
    }
}
