//! The body of a response as hyper sends it, with a callback for its end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::outcome::{BodyEnd, BodyOutcome};
use super::source::BodySource;
use crate::compress::encoding_body::EncodingBody;

/// Callback that runs once when a response's body has ended.
pub(crate) type OnEnd = Box<dyn FnOnce(BodyEnd) + Send>;

/// A response's body.
pub(crate) struct ResponseBody {
    content: BodyContent,
    /// Length that the app declared. hyper polls no further once it has sent that many bytes.
    length: Option<u64>,
    bytes: u64,
    outcome: BodyOutcome,
    /// Set once the body has broken off; its next poll reports the error.
    interrupted: bool,
    on_end: Option<OnEnd>,
}

/// The bytes that a body sends.
pub(crate) enum BodyContent {
    /// Those of its source.
    Plain(BodySource),
    /// Those of its source, encoded while they are sent.
    Encoded(Box<EncodingBody>),
}

impl ResponseBody {
    /// Sends `source`, whose length the app may have declared, and calls `on_end` when it has ended.
    pub(crate) fn new(source: BodySource, length: Option<u64>, on_end: Option<OnEnd>) -> Self {
        Self {
            content: BodyContent::Plain(source),
            length,
            bytes: 0,
            outcome: BodyOutcome::ClientGone,
            interrupted: false,
            on_end,
        }
    }

    /// Replaces the body by an encoded one, which `encode` makes of its source and its declared length. Returns whether
    /// it did; otherwise `encode` returns both unchanged.
    pub(crate) fn encode(
        &mut self,
        encode: impl FnOnce(BodySource, Option<u64>) -> Result<BodyContent, (BodySource, Option<u64>)>,
    ) -> bool {
        let empty = BodyContent::Plain(BodySource::Full(Bytes::new()));
        let source = match std::mem::replace(&mut self.content, empty) {
            BodyContent::Plain(source) => source,
            encoded @ BodyContent::Encoded(_) => {
                self.content = encoded;
                return false;
            }
        };
        match encode(source, self.length.take()) {
            Ok(content) => {
                self.content = content;
                true
            }
            Err((source, length)) => {
                self.content = BodyContent::Plain(source);
                self.length = length;
                false
            }
        }
    }
}

impl BodyContent {
    /// Returns the outcome on the source's side, once it has ended.
    fn ending(&self) -> Option<BodyOutcome> {
        match self {
            Self::Plain(source) => source.ending(),
            Self::Encoded(encoding) => encoding.ending(),
        }
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self::new(BodySource::Full(bytes), None, None)
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
        if this.interrupted {
            let error = "the dyno ended in the middle of its response";
            return Poll::Ready(Some(Err(std::io::Error::other(error))));
        }
        let polled = match &mut this.content {
            BodyContent::Plain(BodySource::Full(bytes)) => {
                this.outcome = BodyOutcome::Complete;
                let bytes = std::mem::take(bytes);
                this.bytes += bytes.len() as u64;
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            BodyContent::Plain(source) => source.poll(context),
            BodyContent::Encoded(encoding) => encoding.poll(context),
        };
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(bytes)) => {
                this.bytes += bytes.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Ready(None) => {
                this.outcome = this.content.ending().unwrap_or(BodyOutcome::DynoGone);
                if this.outcome == BodyOutcome::Complete {
                    return Poll::Ready(None);
                }
                // hyper discards unsent bytes when a body fails. Before the error it gets a turn to send them.
                this.interrupted = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            BodyContent::Plain(BodySource::Full(bytes)) => bytes.is_empty(),
            BodyContent::Plain(BodySource::Stream(_)) => false,
            BodyContent::Encoded(encoding) => encoding.is_complete(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            BodyContent::Plain(BodySource::Full(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            BodyContent::Plain(BodySource::Stream(_)) | BodyContent::Encoded(_) => {
                SizeHint::default()
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let Some(on_end) = self.on_end.take() else {
            return;
        };
        if self.is_end_stream() || self.length == Some(self.bytes) {
            self.outcome = BodyOutcome::Complete;
        } else if self.outcome == BodyOutcome::ClientGone
            && self.content.ending() == Some(BodyOutcome::ClientIdle)
        {
            // The source may have noticed the idle client before hyper dropped the body.
            self.outcome = BodyOutcome::ClientIdle;
        }
        on_end(BodyEnd {
            bytes: self.bytes,
            outcome: self.outcome,
        });
    }
}
