//! A body that is encoded while it is made.
//!
//! What its source has given goes out at once when there is no more: a page that is sent in parts does not wait. A body
//! that breaks off has no end, here as there.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::encoder::Encoder;
use crate::body::{Outcome, Source};
use crate::budget::Taken;

/// Bytes that are encoded before other tasks of the thread have their turn: some hundred microseconds.
const STEP: usize = 32 << 10;

/// A body under way.
pub(crate) struct Encoding {
    source: Source,
    /// How much of it is still to come, if the app has said so.
    left: Option<u64>,
    /// What came of it last and is not encoded yet.
    piece: Bytes,
    /// Given back with its memory as soon as the body has ended, however slow the client is.
    encoder: Option<(Encoder, Taken)>,
    /// Whether the encoder holds something back.
    held: bool,
    /// Whether the thread's other tasks are to have their turn.
    tired: bool,
    ending: Option<Outcome>,
}

impl Encoding {
    /// The body of `source`, of which the app has said how long it is or not.
    pub(crate) fn new(source: Source, length: Option<u64>, encoder: (Encoder, Taken)) -> Self {
        Self {
            source,
            left: length,
            piece: Bytes::new(),
            encoder: Some(encoder),
            held: false,
            tired: false,
            ending: None,
        }
    }

    /// The next bytes; none when the body has ended, as [`Encoding::ending`] then says.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if std::mem::take(&mut self.tired) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = self.step(context);
        polled.map(|step| {
            step.unwrap_or_else(|_| {
                // Out of memory: there is no way to go on.
                self.end(Outcome::DynoGone);
                None
            })
        })
    }

    /// How the body has ended, if it has.
    pub(crate) fn ending(&self) -> Option<Outcome> {
        self.ending.or_else(|| self.source.ending())
    }

    /// Whether all of it has been given.
    pub(crate) fn is_complete(&self) -> bool {
        self.ending == Some(Outcome::Complete)
    }

    fn step(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut encoded = 0;
        loop {
            let Some((encoder, _)) = &mut self.encoder else {
                return Poll::Ready(Ok(None));
            };
            if self.piece.is_empty() {
                match self.next_piece(context) {
                    Poll::Ready(Ok(piece)) => self.piece = piece,
                    Poll::Ready(Err(Outcome::Complete)) => return Poll::Ready(self.finish()),
                    Poll::Pending | Poll::Ready(Err(_)) if self.held => {
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
                continue;
            }
            let part = self.piece.len().min(STEP - encoded);
            encoder.write(&self.piece.split_to(part))?;
            self.held = true;
            encoded += part;
            if encoded == STEP {
                let out = encoder.take();
                self.tired = true;
                return if out.is_empty() {
                    self.poll_again(context)
                } else {
                    Poll::Ready(Ok(Some(out)))
                };
            }
        }
    }

    fn poll_again(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        self.tired = false;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// What comes next, or how it has ended. A body of a known length ends with its last byte, whatever comes then; one
    /// that ends before is broken.
    fn next_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Outcome>> {
        if self.left == Some(0) {
            return Poll::Ready(Err(Outcome::Complete));
        }
        let polled = match &mut self.source {
            Source::Full(bytes) => {
                Poll::Ready(Some(std::mem::take(bytes)).filter(|b| !b.is_empty()))
            }
            Source::Stream(stream) => stream.poll(context),
            // Nothing is encoded twice.
            Source::Encoded(_) => Poll::Ready(None),
        };
        polled.map(|piece| match piece {
            Some(mut piece) => {
                if let Some(left) = &mut self.left {
                    piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= piece.len() as u64;
                }
                Ok(piece)
            }
            None => Err(match (self.source.ending(), self.left) {
                (Some(Outcome::Complete), None) => Outcome::Complete,
                (Some(Outcome::Complete) | None, _) => Outcome::DynoGone,
                (Some(outcome), _) => outcome,
            }),
        })
    }

    fn flush(&mut self) -> io::Result<Bytes> {
        self.held = false;
        let Some((encoder, _)) = &mut self.encoder else {
            return Ok(Bytes::new());
        };
        encoder.flush()?;
        Ok(encoder.take())
    }

    fn finish(&mut self) -> io::Result<Option<Bytes>> {
        let Some((encoder, _)) = self.encoder.take() else {
            return Ok(None);
        };
        let last = encoder.finish()?;
        self.end(Outcome::Complete);
        Ok(Some(last))
    }

    fn end(&mut self, outcome: Outcome) {
        self.encoder = None;
        self.ending = Some(outcome);
    }
}
