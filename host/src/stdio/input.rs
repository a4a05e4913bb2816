//! Descriptor 0: a request's head and then its body, or plain bytes.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use corundum_abi::scgi::RequestHead;
use corundum_exchange::{BodyInterrupted, BodyStream, RequestBody};
use futures_util::StreamExt;
use wasi_common::snapshots::preview_1::types::Errno;

use crate::request::{DynoRequest, RequestProgress};
use crate::sample_session::SharedSession;

/// Descriptor 0.
pub(crate) struct Input {
    head: RequestHead,
    /// Bytes of the head that the guest has read.
    head_read: usize,
    chunk: Bytes,
    rest: Option<BodyStream>,
    /// Bytes of the body that have not arrived, if its length is known.
    missing: Option<u64>,
    /// Sample requests that follow.
    samples: Option<SharedSession>,
    progress: Arc<RequestProgress>,
}

impl Input {
    /// Creates an input that is at its end.
    pub(crate) fn empty() -> Self {
        Self {
            head: RequestHead::default(),
            head_read: 0,
            chunk: Bytes::new(),
            rest: None,
            missing: None,
            samples: None,
            progress: Arc::default(),
        }
    }

    /// Creates the input of a request: its head, then its body.
    pub(crate) fn request(request: DynoRequest, progress: Arc<RequestProgress>) -> Self {
        let (chunk, rest) = match request.body {
            RequestBody::Empty | RequestBody::Connection(_) => (Bytes::new(), None),
            RequestBody::Full(bytes) => (bytes, None),
            RequestBody::Stream(stream) => (Bytes::new(), Some(stream)),
        };
        match rest {
            None => progress.record_request_read(),
            Some(_) => progress.record_moved(),
        }
        Self {
            missing: request.head.content_length(),
            head: request.head,
            head_read: 0,
            chunk,
            rest,
            samples: None,
            progress,
        }
    }

    /// Creates an input of plain streamed bytes.
    pub(crate) fn stream(stream: BodyStream) -> Self {
        Self {
            rest: Some(stream),
            ..Self::empty()
        }
    }

    /// Creates an input of `bytes`.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self {
            chunk: bytes,
            ..Self::empty()
        }
    }

    /// Creates an input of requests without bodies. Each read returns bytes of one request only, so the guest can tell
    /// them apart; each round of the session ends as an input does.
    pub(crate) fn samples(samples: SharedSession, progress: Arc<RequestProgress>) -> Self {
        Self {
            samples: Some(samples),
            progress,
            ..Self::empty()
        }
    }

    /// Returns whether [`Input::read`] would return without waiting.
    pub(crate) fn is_ready(&self) -> bool {
        self.head_read < self.head.as_bytes().len() || !self.chunk.is_empty() || self.rest.is_none()
    }

    /// Reads into `buffer`; 0 bytes mean the end. A read returns bytes of the head or of the body, never of both, so
    /// that a guest finds where the body starts.
    ///
    /// # Errors
    ///
    /// `ECONNRESET` if the sender of the body was interrupted.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let head = self
            .head
            .as_bytes()
            .get(self.head_read..)
            .unwrap_or_default();
        if !head.is_empty() {
            let length = head.len().min(buffer.len());
            buffer[..length].copy_from_slice(&head[..length]);
            self.head_read += length;
            return Ok(length);
        }
        if self.chunk.is_empty() {
            let samples = self.samples.as_ref();
            let head = samples.and_then(|samples| samples.lock().next_head());
            if let Some(head) = head {
                self.accept(head);
            }
        }
        while self.chunk.is_empty() {
            let Some(rest) = &mut self.rest else {
                return Ok(0);
            };
            match rest.next().await {
                Some(Ok(chunk)) => self.accept(chunk),
                Some(Err(BodyInterrupted)) => {
                    self.rest = None;
                    return Err(Errno::Connreset);
                }
                None => {
                    self.rest = None;
                    self.progress.record_request_read();
                }
            }
        }
        let length = self.chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.chunk[..length]);
        self.chunk.advance(length);
        Ok(length)
    }

    /// Accepts the next chunk. The last byte of a body of known length completes the request; the guest need not read
    /// on to the end.
    fn accept(&mut self, chunk: Bytes) {
        self.missing = self
            .missing
            .map(|missing| missing.saturating_sub(chunk.len() as u64));
        match self.missing {
            Some(0) => self.progress.record_request_read(),
            _ => self.progress.record_moved(),
        }
        self.chunk = chunk;
    }

    /// Ends the input, drops its unread part and returns the head of its request.
    pub(crate) fn finish(&mut self) -> RequestHead {
        std::mem::replace(self, Self::empty()).head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn request_of_known_length_is_complete_with_its_last_byte() {
        let head = corundum_abi::scgi::RequestHeadWriter::new(Vec::new(), Some(4)).finish();
        let stream = futures_util::stream::iter([Ok("ab".into()), Ok("cd".into())]);
        let body = RequestBody::Stream(stream.boxed());
        let mut input = Input::request(DynoRequest { head, body }, Arc::default());
        let mut buffer = vec![0; 1000];
        for read in [false, false, true] {
            input.read(&mut buffer).await.unwrap();
            assert_eq!(input.progress.request_read().is_some(), read);
        }
    }

    #[tokio::test]
    async fn reads_return_the_head_then_the_body() {
        let head = corundum_abi::scgi::RequestHeadWriter::new(Vec::new(), Some(4)).finish();
        let length = head.as_bytes().len();
        let stream = futures_util::stream::iter([Ok("ab".into()), Ok("cd".into())]);
        let body = RequestBody::Stream(stream.boxed());
        let mut input = Input::request(DynoRequest { head, body }, Arc::default());
        let mut buffer = vec![0; 1000];
        assert_eq!(input.read(&mut buffer).await, Ok(length));
        assert_eq!(input.read(&mut buffer).await, Ok(2));
        assert_eq!(input.read(&mut buffer[..1]).await, Ok(1));
        assert_eq!(input.read(&mut buffer).await, Ok(1));
        assert_eq!(input.read(&mut buffer).await, Ok(0));
        assert!(input.progress.request_read().is_some());
    }

    #[tokio::test]
    async fn interrupted_body_resets_the_connection() {
        let head = corundum_abi::scgi::RequestHeadWriter::new(Vec::new(), None).finish();
        let body = RequestBody::Stream(futures_util::stream::iter([Err(BodyInterrupted)]).boxed());
        let mut input = Input::request(DynoRequest { head, body }, Arc::default());
        let mut buffer = vec![0; 1000];
        input.read(&mut buffer).await.unwrap();
        assert_eq!(input.read(&mut buffer).await, Err(Errno::Connreset));
    }
}
