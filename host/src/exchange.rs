//! What passes between a dyno and the outside: descriptor 0 in, descriptor 1 out.
//!
//! Output is gathered and goes out in one piece when the request is served, unless the guest starts to wait, uses up
//! its time slice or writes much: then what there is goes out at once, and the rest follows through a short channel.
//! So a small response costs one hand-over, a stream is never held back, and a slow client slows the guest down
//! instead of filling the node's memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use corundum_sdk::abi::cgi::{self, HeadError, ResponseHead};
use corundum_sdk::abi::scgi::Head;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::{mpsc, oneshot};
use wasi_common::snapshots::preview_1::types::Errno;

use crate::os::monotonic_now;

/// Output beyond this goes out while the guest still runs.
const GATHER: usize = 64 << 10;
/// Pieces of a response on their way to a slow client, each of [`GATHER`] bytes or so; then the guest waits.
const IN_FLIGHT: usize = 4;

/// One request: its head, and a body that is streamed into the guest.
pub struct Request {
    /// The SCGI head.
    pub head: Head,
    /// The body.
    pub body: RequestBody,
}

/// A request's body.
pub enum RequestBody {
    /// No body.
    Empty,
    /// A body that has arrived whole.
    Full(Bytes),
    /// A body that is still arriving, read as the guest reads it.
    Stream(BoxStream<'static, Result<Bytes, BodyInterrupted>>),
}

/// The sender of a body went away or broke its framing; the guest's read fails with `ECONNRESET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request's body was interrupted")]
pub struct BodyInterrupted;

/// One response.
#[derive(Debug)]
pub struct Response {
    /// Status and headers.
    pub head: ResponseHead,
    /// The body.
    pub body: ResponseBody,
}

/// A response's body.
pub enum ResponseBody {
    /// The whole body: the guest has served the request.
    Full(Bytes),
    /// A body that is still being made. It ends when the channel closes, or with an error when the dyno ended before
    /// it had written everything.
    Stream(mpsc::Receiver<Result<Bytes, ResponseInterrupted>>),
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(bytes) => f.debug_tuple("Full").field(&bytes.len()).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// The dyno ended in the middle of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the dyno ended in the middle of its response")]
pub struct ResponseInterrupted;

/// When things happened in an exchange, for whoever watches its deadlines. Nanoseconds of the monotonic clock; 0
/// means not yet.
#[derive(Debug, Default)]
pub struct Progress {
    request_read: AtomicU64,
    answered: AtomicU64,
    moved: AtomicU64,
}

impl Progress {
    /// When the guest had the whole request.
    pub fn request_read(&self) -> Option<u64> {
        Some(self.request_read.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// When the response's first byte went out.
    pub fn answered(&self) -> Option<u64> {
        Some(self.answered.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// When bytes last went in or out, the beginning of the exchange included.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// How long ago bytes last went in or out; none if none did.
    pub(crate) fn since_moved(&self) -> Option<Duration> {
        let moved = self.moved();
        (moved > 0).then(|| Duration::from_nanos(monotonic_now().saturating_sub(moved)))
    }

    fn mark(&self, what: &AtomicU64) {
        let now = monotonic_now();
        self.moved.store(now, Ordering::Relaxed);
        let _ = what.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Descriptor 0.
pub(crate) struct Input {
    head: Head,
    head_read: usize,
    chunk: Bytes,
    rest: Option<BoxStream<'static, Result<Bytes, BodyInterrupted>>>,
    /// Bytes of the body that have not arrived, where their number is known.
    left: Option<u64>,
    progress: Arc<Progress>,
}

impl Input {
    /// An input that is at its end.
    pub(crate) fn empty() -> Self {
        Self {
            head: Head::default(),
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
    pub(crate) fn stream(stream: BoxStream<'static, Result<Bytes, BodyInterrupted>>) -> Self {
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

/// Why a response could not be taken from what the guest wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// The guest returned without a complete response head.
    #[error("the dyno returned without a response")]
    Nothing,
    /// What it wrote is no response head.
    #[error("the dyno's response is malformed: {0}")]
    Head(#[from] HeadError),
}

/// Descriptor 1.
pub(crate) enum Output {
    /// Nothing listens: writes are dropped.
    Closed,
    /// A CGI response.
    Response(ResponseOutput),
    /// Plain bytes.
    Stream(mpsc::Sender<Bytes>),
    /// The responses to sample requests, which nobody reads.
    Samples(SampleOutput),
}

/// Takes responses as a client does that leaves when it has to wait: a sample request must come to its end.
#[derive(Default)]
pub(crate) struct SampleOutput {
    written: usize,
    gone: bool,
}

impl SampleOutput {
    /// Bytes that it takes; a longer body tells nothing more.
    const MOST: usize = 1 << 20;

    fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.written += bytes.len();
        self.gone |= self.written > Self::MOST;
        if self.gone { Err(Errno::Pipe) } else { Ok(()) }
    }

    fn flush_now(&mut self) {
        self.gone |= self.written > 0;
    }
}

/// A CGI response on its way.
pub(crate) struct ResponseOutput {
    buffer: BytesMut,
    head: Option<ResponseHead>,
    answer: Option<oneshot::Sender<Response>>,
    stream: Option<mpsc::Sender<Result<Bytes, ResponseInterrupted>>>,
    fault: Option<HeadError>,
    progress: Arc<Progress>,
}

impl Output {
    /// A response that goes to `answer`.
    pub(crate) fn response(answer: oneshot::Sender<Response>, progress: Arc<Progress>) -> Self {
        Self::Response(ResponseOutput {
            buffer: BytesMut::new(),
            head: None,
            answer: Some(answer),
            stream: None,
            fault: None,
            progress,
        })
    }

    /// Takes bytes that the guest writes; waits while the other side is behind.
    ///
    /// # Errors
    ///
    /// `EPIPE` when nobody reads any more.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Closed => Ok(()),
            Self::Samples(samples) => samples.write(bytes),
            Self::Stream(sender) => {
                for piece in bytes.chunks(GATHER) {
                    let sent = sender.send(Bytes::copy_from_slice(piece)).await;
                    sent.map_err(|_| Errno::Pipe)?;
                }
                Ok(())
            }
            Self::Response(response) => {
                for piece in bytes.chunks(GATHER) {
                    response.take(piece)?;
                    if response.buffer.len() >= GATHER {
                        response.flush().await?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Sends what there is, as far as that goes without waiting.
    pub(crate) fn flush_now(&mut self) {
        match self {
            Self::Response(response) => response.flush_now(),
            Self::Samples(samples) => samples.flush_now(),
            Self::Closed | Self::Stream(_) => {}
        }
    }

    /// Ends the response of a request that was served.
    ///
    /// # Errors
    ///
    /// [`OutputError`] when the guest wrote no response.
    pub(crate) async fn finish(&mut self) -> Result<(), OutputError> {
        match std::mem::replace(self, Self::Closed) {
            Self::Response(response) => response.finish().await,
            Self::Closed | Self::Stream(_) | Self::Samples(_) => Ok(()),
        }
    }

    /// Ends a response that cannot be completed. Returns whether the client has seen its beginning.
    pub(crate) fn abort(&mut self) -> bool {
        let Self::Response(response) = std::mem::replace(self, Self::Closed) else {
            return false;
        };
        match response.stream {
            Some(stream) => {
                // A full channel: its closing without this item would look like a good end, so a task waits for room.
                if let Err(mpsc::error::TrySendError::Full(item)) =
                    stream.try_send(Err(ResponseInterrupted))
                {
                    tokio::spawn(async move { stream.send(item).await });
                }
                true
            }
            None => false,
        }
    }
}

impl ResponseOutput {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        // A guest that writes little and waits long must learn of its client's leaving too.
        let gone = self.stream.as_ref().is_some_and(mpsc::Sender::is_closed);
        if self.fault.is_some() || gone {
            return Err(Errno::Pipe);
        }
        self.buffer.extend_from_slice(bytes);
        if self.head.is_none() && self.stream.is_none() {
            match cgi::take_head(&mut self.buffer) {
                Ok(head) => self.head = head,
                Err(fault) => {
                    self.fault = Some(fault);
                    return Err(Errno::Pipe);
                }
            }
        }
        Ok(())
    }

    /// Hands over the head, with the body's channel.
    fn begin(&mut self) {
        let Some(head) = self.head.take() else { return };
        let Some(answer) = self.answer.take() else {
            return;
        };
        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        self.stream = Some(sender);
        self.progress.mark(&self.progress.answered);
        // Nobody waits for it any more: the channel is closed with it, which the next send finds.
        let _ = answer.send(Response {
            head,
            body: ResponseBody::Stream(receiver),
        });
    }

    fn flush_now(&mut self) {
        self.begin();
        if self.buffer.is_empty() {
            return;
        }
        if let Some(permit) = self
            .stream
            .as_ref()
            .and_then(|stream| stream.try_reserve().ok())
        {
            permit.send(Ok(self.buffer.split().freeze()));
            self.progress.mark(&self.progress.moved);
        }
    }

    async fn flush(&mut self) -> Result<(), Errno> {
        self.begin();
        let Some(stream) = &self.stream else {
            return Ok(());
        };
        let permit = stream.reserve().await.map_err(|_| Errno::Pipe)?;
        permit.send(Ok(self.buffer.split().freeze()));
        self.progress.mark(&self.progress.moved);
        Ok(())
    }

    async fn finish(mut self) -> Result<(), OutputError> {
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        if self.stream.is_some() {
            if !self.buffer.is_empty() {
                // The client may have gone: the request is served all the same.
                let _ = self.flush().await;
            }
            return Ok(());
        }
        let head = self.head.take().ok_or(OutputError::Nothing)?;
        self.progress.mark(&self.progress.answered);
        if let Some(answer) = self.answer.take() {
            let body = ResponseBody::Full(self.buffer.freeze());
            let _ = answer.send(Response { head, body });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> (Output, oneshot::Receiver<Response>) {
        let (sender, receiver) = oneshot::channel();
        (Output::response(sender, Arc::default()), receiver)
    }

    #[tokio::test]
    async fn a_small_response_arrives_in_one_piece() {
        let (mut output, answer) = output();
        output.write(b"Status: 200 OK\r\n\r\nhel").await.unwrap();
        output.write(b"lo").await.unwrap();
        output.finish().await.unwrap();
        let response = answer.await.unwrap();
        assert!(matches!(response.body, ResponseBody::Full(body) if body == "hello"));
    }

    #[tokio::test]
    async fn a_guest_that_waits_has_its_output_sent_first() {
        let (mut output, answer) = output();
        output.write(b"Status: 200 OK\r\n\r\none").await.unwrap();
        output.flush_now();
        let ResponseBody::Stream(mut body) = answer.await.unwrap().body else {
            panic!("a stream")
        };
        assert_eq!(body.recv().await, Some(Ok("one".into())));
        output.write(b"two").await.unwrap();
        output.finish().await.unwrap();
        assert_eq!(body.recv().await, Some(Ok("two".into())));
        assert_eq!(body.recv().await, None);
    }

    #[tokio::test]
    async fn a_large_response_waits_for_its_reader() {
        let (mut output, answer) = output();
        output.write(b"Status: 200 OK\r\n\r\n").await.unwrap();
        let writer = tokio::spawn(async move {
            let written = output.write(&vec![b'x'; 1 << 20]).await;
            (written, output.finish().await)
        });
        let ResponseBody::Stream(mut body) = answer.await.unwrap().body else {
            panic!("a stream")
        };
        tokio::task::yield_now().await;
        assert!(!writer.is_finished(), "the guest must wait");
        let mut length = 0;
        while let Some(piece) = body.recv().await {
            length += piece.unwrap().len();
        }
        assert_eq!(length, 1 << 20);
        assert_eq!(writer.await.unwrap(), (Ok(()), Ok(())));
    }

    #[tokio::test]
    async fn a_client_that_went_away_is_a_broken_pipe() {
        let (mut output, answer) = output();
        drop(answer);
        let bytes = [b"Status: 200 OK\r\n\r\n".as_slice(), &vec![b'x'; 1 << 20]].concat();
        assert_eq!(output.write(&bytes).await, Err(Errno::Pipe));
        assert_eq!(output.finish().await, Ok(()));
    }

    #[tokio::test]
    async fn a_client_that_went_away_between_two_small_writes_is_a_broken_pipe_too() {
        let (mut output, answer) = output();
        output.write(b"Status: 200 OK\r\n\r\none").await.unwrap();
        output.flush_now();
        drop(answer.await.unwrap());
        assert_eq!(output.write(b"two").await, Err(Errno::Pipe));
    }

    #[tokio::test]
    async fn an_aborted_response_ends_in_an_error() {
        let (mut output, answer) = output();
        output.write(b"Status: 200 OK\r\n\r\nhalf").await.unwrap();
        output.flush_now();
        assert!(output.abort());
        let ResponseBody::Stream(mut body) = answer.await.unwrap().body else {
            panic!("a stream")
        };
        assert_eq!(body.recv().await, Some(Ok("half".into())));
        assert_eq!(body.recv().await, Some(Err(ResponseInterrupted)));
    }

    #[tokio::test]
    async fn what_is_no_response_is_an_error() {
        let (mut silent, _answer) = output();
        assert_eq!(silent.finish().await, Err(OutputError::Nothing));
        let (mut garbled, _answer) = output();
        assert_eq!(garbled.write(b"hello\n\n").await, Err(Errno::Pipe));
        assert!(matches!(garbled.finish().await, Err(OutputError::Head(_))));
    }

    #[tokio::test]
    async fn a_request_of_known_length_is_read_with_its_last_byte() {
        let head = corundum_sdk::abi::scgi::HeadWriter::new(Vec::new(), Some(4)).finish();
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
        let head = corundum_sdk::abi::scgi::HeadWriter::new(Vec::new(), Some(4)).finish();
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
        let head = corundum_sdk::abi::scgi::HeadWriter::new(Vec::new(), None).finish();
        let body = RequestBody::Stream(futures_util::stream::iter([Err(BodyInterrupted)]).boxed());
        let mut input = Input::request(Request { head, body }, Arc::default());
        let mut buffer = vec![0; 1000];
        input.read(&mut buffer).await.unwrap();
        assert_eq!(input.read(&mut buffer).await, Err(Errno::Connreset));
    }
}
