//! Buffering of a response's body for a slow client, so that its dyno is free early.
//!
//! A task reads the dyno's body ahead up to a limit, where the dyno has to wait. A client that reads nothing for too
//! long loses its connection (H28); a dyno that sends nothing for too long loses its request (H15).

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::body::memory_budget::PIECE;
use crate::body::outcome::BodyOutcome;
use crate::body::streamed_body::StreamedBody;
use crate::cache::streaming_fill::StreamFault;
use crate::connection_state::RequestHandle;
use crate::fair_pool::{AppPool, PoolReservation};
use crate::limits::Limits;

/// The client's end of the buffer.
pub(crate) struct ResponseBuffer {
    /// Unbounded in number, since the permits of the pieces bound their bytes.
    pieces: mpsc::UnboundedReceiver<BufferedPiece>,
    ending: Arc<OnceLock<BodyOutcome>>,
}

/// Bytes that wait, with the permit and the reservation that they occupy.
struct BufferedPiece {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
    _reservation: Option<PoolReservation>,
}

/// The task that reads ahead.
struct ReadAhead {
    source: StreamedBody,
    pieces: mpsc::UnboundedSender<BufferedPiece>,
    room: Arc<Semaphore>,
    /// An empty reservation, from which each piece gets its own.
    memory: PoolReservation,
    limits: Limits,
    handle: RequestHandle,
}

impl ResponseBuffer {
    /// Starts to read `source` ahead.
    pub(crate) fn start(
        source: StreamedBody,
        limits: &Limits,
        memory: AppPool<'_>,
        handle: &RequestHandle,
    ) -> Self {
        let (sender, pieces) = mpsc::unbounded_channel();
        let ending = Arc::new(OnceLock::new());
        let pump = ReadAhead {
            source,
            pieces: sender,
            room: Arc::new(Semaphore::new(limits.response_buffer)),
            memory: memory.empty(),
            limits: limits.clone(),
            handle: handle.clone(),
        };
        let told = ending.clone();
        tokio::spawn(async move {
            let mut pump = pump;
            let outcome = pump.run().await;
            let _ = told.set(outcome);
            if outcome == BodyOutcome::ClientIdle {
                pump.handle.abort();
            }
        });
        Self { pieces, ending }
    }

    /// Returns the next bytes, or `None` when the body has ended; [`ResponseBuffer::ending`] then has the outcome.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let piece = self.pieces.poll_recv(context);
        piece.map(|piece| piece.map(|piece| piece.bytes))
    }

    /// Returns the outcome on the dyno's side, once it has ended.
    pub(crate) fn ending(&self) -> Option<BodyOutcome> {
        self.ending.get().copied()
    }
}

impl ReadAhead {
    async fn run(&mut self) -> BodyOutcome {
        loop {
            let next = tokio::time::timeout(self.limits.dyno_idle, self.source.next());
            let next = tokio::select! {
                next = next => next,
                () = self.pieces.closed() => return BodyOutcome::ClientGone,
            };
            let bytes = match next {
                Err(_) | Ok(Err(StreamFault::Stalled)) => return BodyOutcome::DynoIdle,
                Ok(Err(StreamFault::Interrupted)) => return BodyOutcome::DynoGone,
                Ok(Ok(None)) => return BodyOutcome::Complete,
                Ok(Ok(Some(bytes))) => bytes,
            };
            if let Err(outcome) = self.put(bytes).await {
                return outcome;
            }
        }
    }

    /// Adds bytes to the buffer as soon as there is room.
    async fn put(&self, bytes: Bytes) -> Result<(), BodyOutcome> {
        let weight = bytes.len() + PIECE;
        let reservation = self.memory.try_another(weight);
        // Without a share of the node's memory, a piece takes the whole buffer, so that it waits until the one before
        // it is sent.
        let own = match reservation {
            Some(_) => weight.min(self.limits.response_buffer),
            None => self.limits.response_buffer,
        };
        let permit = self.room.clone().acquire_many_owned(own as u32);
        let permit = tokio::select! {
            permit = tokio::time::timeout(self.limits.client_idle, permit) => permit,
            () = self.pieces.closed() => return Err(BodyOutcome::ClientGone),
        };
        let Ok(Ok(permit)) = permit else {
            return Err(BodyOutcome::ClientIdle);
        };
        let piece = BufferedPiece {
            bytes,
            _permit: permit,
            _reservation: reservation,
        };
        self.pieces.send(piece).map_err(|_| BodyOutcome::ClientGone)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::connection_state::ConnectionState;
    use crate::fair_pool::FairPool;

    #[tokio::test]
    async fn one_byte_pieces_are_bounded_by_their_memory() {
        let state = Arc::new(ConnectionState::default());
        let in_flight = state.begin();
        let limits = Limits {
            response_buffer: 64 << 10,
            ..Limits::default()
        };
        for buffers in [limits.buffers, 64 << 10] {
            let (sender, source) = mpsc::channel(1);
            let (memory, share) = (FairPool::new(buffers, 2), Arc::default());
            let buffer = ResponseBuffer::start(
                StreamedBody::Dyno(source),
                &limits,
                memory.of(&share),
                in_flight.handle(),
            );
            let byte = || sender.send(Ok(Bytes::from_static(b"x")));
            let mut sent = 0;
            while let Ok(sending) = tokio::time::timeout(Duration::from_millis(100), byte()).await {
                sending.unwrap();
                sent += 1;
            }
            assert!((64..1000).contains(&sent), "{sent}");
            drop(buffer);
        }
    }
}
