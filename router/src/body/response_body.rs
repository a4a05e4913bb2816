//! The body of a response, and the line that is logged when it has ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::body::response_buffer::ResponseBuffer;
use crate::compress::encoding_body::EncodingBody;

/// What is done when a response's body has ended.
pub(crate) type OnEnd = Box<dyn FnOnce(End) + Send>;

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Bytes that went out.
    pub(crate) bytes: u64,
    /// Whether it was the client that ended it.
    pub(crate) outcome: Outcome,
}

/// Who ended a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is complete.
    Complete,
    /// The dyno ended in the middle.
    DynoGone,
    /// The dyno gave nothing for too long.
    DynoIdle,
    /// The client went away.
    ClientGone,
    /// The client took nothing for too long.
    ClientIdle,
}

/// Where a body comes from.
pub(crate) enum Source {
    /// It is here.
    Full(Bytes),
    /// It is still being made.
    Stream(ResponseBuffer),
    /// It is encoded on its way.
    Encoded(Box<EncodingBody>),
}

impl Source {
    /// How it has ended where it comes from, if it has.
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
    /// Its length, where the app has said so: then nobody asks for more after its last byte.
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

    /// Has it go out in another form, which `encode` makes of its source and of the length that the app has given it.
    /// Returns whether it did; if not, both come back.
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
            // It may have been given up before its client was.
            self.outcome = Outcome::ClientIdle;
        }
        on_end(End {
            bytes: self.bytes,
            outcome: self.outcome,
        });
    }
}
