//! A body that is encoded while it streams.
//!
//! Whenever the source has no more bytes, the encoder is flushed, so that a page that is sent in parts does not wait. A
//! body whose source breaks off ends without the encoder's trailer, so that clients notice.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::encoder::Encoder;
use crate::body::outcome::BodyOutcome;
use crate::body::source::BodySource;
use crate::fair_pool::PoolReservation;

/// Bytes that are encoded before the thread's other tasks run: some hundred microseconds.
const STEP: usize = 32 << 10;

/// A streaming body and its encoder.
pub(crate) struct EncodingBody {
    source: BodySource,
    /// Bytes of the source that are still to come, if the app declared a length.
    remaining: Option<u64>,
    /// Bytes of the source that are not encoded yet.
    piece: Bytes,
    /// Dropped, with its memory, as soon as the body has ended, however slow the client is.
    encoder: Option<(Encoder, PoolReservation)>,
    /// True if the encoder holds bytes that were not flushed.
    unflushed: bool,
    /// True if the next poll must yield to the thread's other tasks.
    yield_next: bool,
    ending: Option<BodyOutcome>,
}

impl EncodingBody {
    /// Encodes the body of `source`, whose length the app may have declared.
    pub(crate) fn new(
        source: BodySource,
        length: Option<u64>,
        encoder: (Encoder, PoolReservation),
    ) -> Self {
        Self {
            source,
            remaining: length,
            piece: Bytes::new(),
            encoder: Some(encoder),
            unflushed: false,
            yield_next: false,
            ending: None,
        }
    }

    /// Returns the next bytes, or `None` when the body has ended; [`EncodingBody::ending`] then has the outcome.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if std::mem::take(&mut self.yield_next) {
            return yield_now(context);
        }
        let polled = self.step(context);
        polled.map(|step| {
            step.unwrap_or_else(|_| {
                // Out of memory: the body cannot continue.
                self.end(BodyOutcome::DynoGone);
                None
            })
        })
    }

    /// Returns the outcome, once the body has ended.
    pub(crate) fn ending(&self) -> Option<BodyOutcome> {
        self.ending.or_else(|| self.source.ending())
    }

    /// Returns whether the whole body has been returned.
    pub(crate) fn is_complete(&self) -> bool {
        self.ending == Some(BodyOutcome::Complete)
    }

    fn step(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut encoded = 0;
        while encoded < STEP {
            if self.piece.is_empty() {
                match self.next_piece(context) {
                    Poll::Ready(Ok(piece)) => self.piece = piece,
                    Poll::Ready(Err(BodyOutcome::Complete)) => return Poll::Ready(self.finish()),
                    // Flushes before waiting, and before reporting an interruption.
                    Poll::Pending | Poll::Ready(Err(_)) if self.unflushed => {
                        let out = self.flush()?;
                        if !out.is_empty() {
                            return Poll::Ready(Ok(Some(out)));
                        }
                    }
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(outcome)) => {
                        self.end(outcome);
                        return Poll::Ready(Ok(None));
                    }
                }
            }
            let part = self.piece.len().min(STEP - encoded);
            let part = self.piece.split_to(part);
            encoded += part.len();
            self.write(&part)?;
        }
        let out = self.take();
        if out.is_empty() {
            return yield_now(context);
        }
        self.yield_next = true;
        Poll::Ready(Ok(Some(out)))
    }

    /// Returns the source's next bytes, or its outcome. A body of a declared length ends with its last byte, whatever
    /// follows; one that ends earlier is interrupted.
    fn next_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, BodyOutcome>> {
        if let Some(ending) = self.ending {
            return Poll::Ready(Err(ending));
        }
        if self.remaining == Some(0) {
            return Poll::Ready(Err(BodyOutcome::Complete));
        }
        self.source.poll(context).map(|piece| match piece {
            Some(mut piece) => {
                if let Some(remaining) = &mut self.remaining {
                    piece.truncate(usize::try_from(*remaining).unwrap_or(usize::MAX));
                    *remaining -= piece.len() as u64;
                }
                Ok(piece)
            }
            None => Err(match (self.source.ending(), self.remaining) {
                (Some(BodyOutcome::Complete), None) => BodyOutcome::Complete,
                (Some(BodyOutcome::Complete) | None, _) => BodyOutcome::DynoGone,
                (Some(outcome), _) => outcome,
            }),
        })
    }

    fn write(&mut self, part: &[u8]) -> io::Result<()> {
        self.unflushed |= !part.is_empty();
        match &mut self.encoder {
            Some((encoder, _)) => encoder.write(part),
            None => Ok(()),
        }
    }

    fn take(&mut self) -> Bytes {
        let encoder = self.encoder.as_mut();
        encoder.map_or(Bytes::new(), |(encoder, _)| encoder.take())
    }

    fn flush(&mut self) -> io::Result<Bytes> {
        self.unflushed = false;
        if let Some((encoder, _)) = &mut self.encoder {
            encoder.flush()?;
        }
        Ok(self.take())
    }

    fn finish(&mut self) -> io::Result<Option<Bytes>> {
        let Some((encoder, _)) = self.encoder.take() else {
            return Ok(None);
        };
        let last = encoder.finish()?;
        self.end(BodyOutcome::Complete);
        Ok(Some(last))
    }

    fn end(&mut self, outcome: BodyOutcome) {
        self.encoder = None;
        self.ending = Some(outcome);
    }
}

/// Yields to the thread's other tasks.
fn yield_now<T>(context: &mut Context<'_>) -> Poll<T> {
    context.waker().wake_by_ref();
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::super::encoder::tests::decoded;
    use super::super::encoder::{Effort, MEMORY};
    use super::*;
    use crate::fair_pool::{AppPool, FairPool};
    use crate::semantics::accept_encoding::ContentCoding;

    fn encoding(memory: AppPool<'_>, body: Vec<u8>) -> EncodingBody {
        let encoder = Encoder::new(ContentCoding::Gzip, Effort::Streaming).unwrap();
        let reservation = memory.try_reserve(MEMORY).unwrap();
        EncodingBody::new(BodySource::Full(body.into()), None, (encoder, reservation))
    }

    #[test]
    fn encoding_a_large_body_yields_after_each_step() {
        let body = vec![b'x'; 20 * STEP];
        let (pool, share) = (FairPool::new(2 * MEMORY, 1), Arc::default());
        let mut encoding = encoding(pool.of(&share), body.clone());
        let mut context = Context::from_waker(Waker::noop());
        let (mut yields, mut out) = (0, Vec::new());
        while !encoding.is_complete() {
            match encoding.poll(&mut context) {
                Poll::Pending => yields += 1,
                Poll::Ready(bytes) => out.extend_from_slice(&bytes.unwrap()),
            }
        }
        assert!(yields >= 20, "{yields}");
        assert!(decoded(ContentCoding::Gzip, &out).0 == body);
        assert_eq!(encoding.poll(&mut context), Poll::Ready(None));
        assert_eq!(encoding.ending(), Some(BodyOutcome::Complete));
    }

    #[test]
    fn reservation_of_an_encoder_ends_with_its_body() {
        let (pool, share) = (FairPool::new(2 * MEMORY, 1), Arc::default());
        let memory = pool.of(&share);
        let mut context = Context::from_waker(Waker::noop());
        let mut ended = encoding(memory, b"a page".to_vec());
        assert!(memory.try_reserve(1).is_none());
        assert!(ended.poll(&mut context).is_ready() && ended.is_complete());
        let given_up = encoding(memory, b"a page".to_vec());
        assert!(memory.try_reserve(1).is_none());
        drop(given_up);
        assert!(memory.try_reserve(MEMORY).is_some());
    }
}
