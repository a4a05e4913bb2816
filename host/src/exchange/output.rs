//! Descriptor 1: a response, or plain bytes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use corundum_abi::cgi::{self, ResponseHead, ResponseHeadError};
use corundum_exchange::{BodyInterrupted, DynoBody};
use tokio::sync::{mpsc, oneshot};
use wasi_common::snapshots::preview_1::types::Errno;

use super::{Progress, Response};

/// Output beyond this goes out while the guest still runs.
const GATHER: usize = 64 << 10;
/// Pieces of a response on their way to a slow client, each of [`GATHER`] bytes or so; then the guest waits.
const IN_FLIGHT: usize = 4;

/// Why a response could not be taken from what the guest wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// The guest returned without a complete response head.
    #[error("the dyno returned without a response")]
    Nothing,
    /// What it wrote is no response head.
    #[error("the dyno's response is malformed: {0}")]
    Head(#[from] ResponseHeadError),
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
    fault: Option<ResponseHeadError>,
    stream: Option<mpsc::Sender<Result<Bytes, BodyInterrupted>>>,
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
                    stream.try_send(Err(BodyInterrupted))
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
            body: DynoBody::Stream(receiver),
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
            let body = DynoBody::Full(self.buffer.freeze());
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
        assert!(matches!(response.body, DynoBody::Full(body) if body == "hello"));
    }

    #[tokio::test]
    async fn a_guest_that_waits_has_its_output_sent_first() {
        let (mut output, answer) = output();
        output.write(b"Status: 200 OK\r\n\r\none").await.unwrap();
        output.flush_now();
        let DynoBody::Stream(mut body) = answer.await.unwrap().body else {
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
        let DynoBody::Stream(mut body) = answer.await.unwrap().body else {
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
        let DynoBody::Stream(mut body) = answer.await.unwrap().body else {
            panic!("a stream")
        };
        assert_eq!(body.recv().await, Some(Ok("half".into())));
        assert_eq!(body.recv().await, Some(Err(BodyInterrupted)));
    }

    #[tokio::test]
    async fn what_is_no_response_is_an_error() {
        let (mut silent, _answer) = output();
        assert_eq!(silent.finish().await, Err(OutputError::Nothing));
        let (mut garbled, _answer) = output();
        assert_eq!(garbled.write(b"hello\n\n").await, Err(Errno::Pipe));
        assert!(matches!(garbled.finish().await, Err(OutputError::Head(_))));
    }
}
