//! Descriptor 0: a request's head and then its body, or plain bytes.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use corundum_abi::scgi::RequestHead;
use corundum_exchange::{BodyInterrupted, BodyStream, RequestBody};
use futures_util::StreamExt;
use wasi_common::snapshots::preview_1::types::Errno;

use super::{Progress, Request};

/// Descriptor 0.
pub(crate) struct Input {
    head: RequestHead,
    head_read: usize,
    chunk: Bytes,
    rest: Option<BodyStream>,
    /// Bytes of the body that have not arrived, where their number is known.
    left: Option<u64>,
    progress: Arc<Progress>,
}

impl Input {
    /// An input that is at its end.
    pub(crate) fn empty() -> Self {
        Self {
            head: RequestHead::default(),
            head_read: 0,
            chunk: Bytes::new(),
            rest: None,
            left: None,
            progress: Arc::default(),
        }
    }

    /// A request's head, then its body.
    pub(crate) fn request(request: Request, progress: Arc<Progress>) -> Self {
        let (chunk, rest) = match request.body {
            RequestBody::Empty => (Bytes::new(), None),
            RequestBody::Full(bytes) => (bytes, None),
            RequestBody::Stream(stream) => (Bytes::new(), Some(stream)),
        };
        progress.mark(match rest {
            None => &progress.request_read,
            Some(_) => &progress.moved,
        });
        Self {
            left: request.head.content_length(),
            head: request.head,
            head_read: 0,
            chunk,
            rest,
            progress,
        }
    }

    /// A plain stream.
    pub(crate) fn stream(stream: BodyStream) -> Self {
        Self {
            rest: Some(stream),
            ..Self::empty()
        }
    }

    /// These bytes.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self {
            chunk: bytes,
            ..Self::empty()
        }
    }

    /// Requests without bodies, one after another, each of which a read finds apart.
    pub(crate) fn samples(heads: Vec<Bytes>, progress: Arc<Progress>) -> Self {
        let heads = futures_util::stream::iter(heads.into_iter().map(Ok));
        Self {
            progress,
            ..Self::stream(heads.boxed())
        }
    }

    /// Whether [`Input::read`] would return without waiting.
    pub(crate) fn is_ready(&self) -> bool {
        self.head_read < self.head.as_bytes().len() || !self.chunk.is_empty() || self.rest.is_none()
    }

    /// Reads some bytes; 0 at the end. The head comes alone, so that a guest finds the body apart.
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
        while self.chunk.is_empty() {
            let Some(rest) = &mut self.rest else {
                return Ok(0);
            };
            match rest.next().await {
                Some(Ok(chunk)) => self.arrived(chunk),
                Some(Err(BodyInterrupted)) => {
                    self.rest = None;
                    return Err(Errno::Connreset);
                }
                None => {
                    self.rest = None;
                    self.progress.mark(&self.progress.request_read);
                }
            }
        }
        let length = self.chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.chunk[..length]);
        self.chunk.advance(length);
        Ok(length)
    }

    /// Takes the next chunk. With the last one the guest has the request: it need not read on to be told so.
    fn arrived(&mut self, chunk: Bytes) {
        self.left = self
            .left
            .map(|left| left.saturating_sub(chunk.len() as u64));
        self.progress.mark(match self.left {
            Some(0) => &self.progress.request_read,
            _ => &self.progress.moved,
        });
        self.chunk = chunk;
    }

    /// Ends the exchange: what was not read is dropped. Returns the head's buffer, to be used again.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::replace(self, Self::empty()).head.into_buffer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_of_known_length_is_read_with_its_last_byte() {
        let head = corundum_abi::scgi::RequestHeadWriter::new(Vec::new(), Some(4)).finish();
        let stream = futures_util::stream::iter([Ok("ab".into()), Ok("cd".into())]);
        let body = RequestBody::Stream(stream.boxed());
        let mut input = Input::request(Request { head, body }, Arc::default());
        let mut buffer = vec![0; 1000];
        for read in [false, false, true] {
            input.read(&mut buffer).await.unwrap();
            assert_eq!(input.progress.request_read().is_some(), read);
        }
    }

    #[tokio::test]
    async fn a_request_is_its_head_and_then_its_body() {
        let head = corundum_abi::scgi::RequestHeadWriter::new(Vec::new(), Some(4)).finish();
        let length = head.as_bytes().len();
        let stream = futures_util::stream::iter([Ok("ab".into()), Ok("cd".into())]);
        let body = RequestBody::Stream(stream.boxed());
        let mut input = Input::request(Request { head, body }, Arc::default());
        let mut buffer = vec![0; 1000];
        assert_eq!(input.read(&mut buffer).await, Ok(length));
        assert_eq!(input.read(&mut buffer).await, Ok(2));
        assert_eq!(input.read(&mut buffer[..1]).await, Ok(1));
        assert_eq!(input.read(&mut buffer).await, Ok(1));
        assert_eq!(input.read(&mut buffer).await, Ok(0));
        assert!(input.progress.request_read().is_some());
    }

    #[tokio::test]
    async fn an_interrupted_body_is_a_reset_connection() {
        let head = corundum_abi::scgi::RequestHeadWriter::new(Vec::new(), None).finish();
        let body = RequestBody::Stream(futures_util::stream::iter([Err(BodyInterrupted)]).boxed());
        let mut input = Input::request(Request { head, body }, Arc::default());
        let mut buffer = vec![0; 1000];
        input.read(&mut buffer).await.unwrap();
        assert_eq!(input.read(&mut buffer).await, Err(Errno::Connreset));
    }
}
