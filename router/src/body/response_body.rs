//! The body of a response as hyper sends it, with a callback for its end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::body::response_buffer::ResponseBuffer;
use crate::compress::encoding_body::EncodingBody;

/// Callback that runs once when a response's body has ended.
pub(crate) type OnEnd = Box<dyn FnOnce(End) + Send>;

/// The end of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Bytes that were sent.
    pub(crate) bytes: u64,
    /// Completion or cause of the interruption.
    pub(crate) outcome: Outcome,
}

/// Completion of a body, or the cause of its interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The body is complete.
    Complete,
    /// The dyno ended in the middle of the body.
    DynoGone,
    /// The dyno paused for too long.
    DynoIdle,
    /// The client disconnected.
    ClientGone,
    /// The client stopped reading for too long.
    ClientIdle,
}

/// Source of a body's bytes.
pub(crate) enum Source {
    /// Complete in memory.
    Full(Bytes),
    /// Streamed from a dyno or a response that the cache is storing.
    Stream(ResponseBuffer),
    /// Encoded while it is sent.
    Encoded(Box<EncodingBody>),
}

impl Source {
    /// Returns the outcome on the source's side, once it has ended.
    pub(crate) fn ending(&self) -> Option<Outcome> {
        match self {
            Self::Full(_) => Some(Outcome::Complete),
            Self::Stream(stream) => stream.ending(),
            Self::Encoded(encoding) => encoding.ending(),
        }
    }
}

/// A response's body.
pub(crate) struct ResponseBody {
    source: Source,
    /// Length that the app declared. hyper polls no further once it has sent that many bytes.
    length: Option<u64>,
    bytes: u64,
    outcome: Outcome,
    on_end: Option<OnEnd>,
}

impl ResponseBody {
    pub(crate) fn new(source: Source, length: Option<u64>, on_end: Option<OnEnd>) -> Self {
        Self {
            source,
            length,
            bytes: 0,
            outcome: Outcome::ClientGone,
            on_end,
        }
    }

    /// Replaces the body by an encoded one, which `encode` makes of its source and its declared length. Returns whether
    /// it did; otherwise `encode` returns both unchanged.
    pub(crate) fn encode(
        &mut self,
        encode: impl FnOnce(Source, Option<u64>) -> Result<Source, (Source, Option<u64>)>,
    ) -> bool {
        let source = std::mem::replace(&mut self.source, Source::Full(Bytes::new()));
        match encode(source, self.length.take()) {
            Ok(source) => {
                self.source = source;
                true
            }
            Err((source, length)) => {
                (self.source, self.length) = (source, length);
                false
            }
        }
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self::new(Source::Full(bytes), None, None)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = &mut *self;
        let polled = match &mut this.source {
            Source::Full(bytes) => {
                this.outcome = Outcome::Complete;
                let bytes = std::mem::take(bytes);
                this.bytes += bytes.len() as u64;
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Source::Stream(stream) => stream.poll(context),
            Source::Encoded(encoding) => encoding.poll(context),
        };
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(bytes)) => {
                this.bytes += bytes.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Ready(None) => {
                this.outcome = this.source.ending().unwrap_or(Outcome::DynoGone);
                let whole = this.outcome == Outcome::Complete;
                let error = "the dyno ended in the middle of its response";
                Poll::Ready((!whole).then(|| Err(std::io::Error::other(error))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Full(bytes) => bytes.is_empty(),
            Source::Stream(_) => false,
            Source::Encoded(encoding) => encoding.is_complete(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Stream(_) | Source::Encoded(_) => SizeHint::default(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let Some(on_end) = self.on_end.take() else {
            return;
        };
        if self.is_end_stream() || self.length == Some(self.bytes) {
            self.outcome = Outcome::Complete;
        } else if self.outcome == Outcome::ClientGone
            && self.source.ending() == Some(Outcome::ClientIdle)
        {
            // The source may have noticed the idle client before hyper dropped the body.
            self.outcome = Outcome::ClientIdle;
        }
        on_end(End {
            bytes: self.bytes,
            outcome: self.outcome,
        });
    }
}
