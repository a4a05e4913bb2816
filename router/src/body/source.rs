//! The bytes of a response's body before they are encoded.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::outcome::BodyOutcome;
use super::response_buffer::ResponseBuffer;

/// Source of a body's bytes.
pub(crate) enum BodySource {
    /// Complete in memory.
    Full(Bytes),
    /// Streamed from a dyno or from a response that the cache is storing.
    Stream(ResponseBuffer),
}

impl BodySource {
    /// Returns the next bytes, or `None` when the source has no more.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self {
            Self::Full(bytes) => {
                Poll::Ready(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()))
            }
            Self::Stream(stream) => stream.poll(context),
        }
    }

    /// Returns the outcome, once the source has ended.
    pub(crate) fn ending(&self) -> Option<BodyOutcome> {
        match self {
            Self::Full(_) => Some(BodyOutcome::Complete),
            Self::Stream(stream) => stream.ending(),
        }
    }
}
