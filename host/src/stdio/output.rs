//! Descriptor 1: a response, or plain bytes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use corundum_abi::CONNECTION_TAKEN;
use corundum_abi::cgi::{self, ResponseHead, ResponseHeadError};
use corundum_exchange::{BodyInterrupted, DynoBody};
use tokio::sync::{mpsc, oneshot};
use wasi_common::snapshots::preview_1::types::Errno;

use crate::request::{DynoResponse, RequestProgress};
use crate::sample_session::{ResponseEnded, SharedSession};

/// Bytes that are collected before output is sent while the guest still runs.
const COLLECT: usize = 64 << 10;
/// Pieces of a response, each of about [`COLLECT`] bytes, that a slow client may leave in the channel before the guest
/// waits.
const IN_FLIGHT: usize = 4;

/// Failure of a guest to write a valid response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// The guest returned without a complete response head.
    #[error("the dyno returned without a response")]
    Nothing,
    /// The guest wrote something other than a response head.
    #[error("the dyno's response is malformed: {0}")]
    Head(#[from] ResponseHeadError),
}

/// Descriptor 1.
pub(crate) enum Output {
    /// Writes are dropped.
    Closed,
    /// A CGI response.
    Response(ResponseOutput),
    /// Plain bytes.
    Stream(mpsc::Sender<Bytes>),
    /// Responses to sample requests.
    Samples(SharedSession),
}

/// A CGI response that the guest is writing.
pub(crate) struct ResponseOutput {
    buffer: BytesMut,
    head: Option<ResponseHead>,
    answer: Option<oneshot::Sender<DynoResponse>>,
    fault: Option<ResponseHeadError>,
    stream: Option<mpsc::Sender<Result<Bytes, BodyInterrupted>>>,
    progress: Arc<RequestProgress>,
}

impl Output {
    /// Creates the output of a response, which is sent to `answer`.
    pub(crate) fn response(
        answer: oneshot::Sender<DynoResponse>,
        progress: Arc<RequestProgress>,
    ) -> Self {
        Self::Response(ResponseOutput {
            buffer: BytesMut::new(),
            head: None,
            answer: Some(answer),
            stream: None,
            fault: None,
            progress,
        })
    }

    /// Writes `bytes`, and waits while the receiver is behind.
    ///
    /// # Errors
    ///
    /// `EPIPE` if the receiver is gone.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Closed => Ok(()),
            Self::Samples(samples) => {
                let written = samples.lock().write(bytes);
                written.map_err(|ResponseEnded| Errno::Pipe)
            }
            Self::Stream(sender) => {
                for piece in bytes.chunks(COLLECT) {
                    let sent = sender.send(Bytes::copy_from_slice(piece)).await;
                    sent.map_err(|_| Errno::Pipe)?;
                }
                Ok(())
            }
            Self::Response(response) => {
                for piece in bytes.chunks(COLLECT) {
                    response.take(piece)?;
                    if response.buffer.len() >= COLLECT {
                        response.flush().await?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Sends the collected bytes, unless that would have to wait.
    pub(crate) fn flush_now(&mut self) {
        match self {
            Self::Response(response) => response.flush_now(),
            Self::Samples(samples) => samples.lock().flush_now(),
            Self::Closed | Self::Stream(_) => {}
        }
    }

    /// Completes the response after the guest has served the request.
    ///
    /// # Errors
    ///
    /// Returns an [`OutputError`] if the guest wrote no valid response.
    pub(crate) async fn finish(&mut self) -> Result<(), OutputError> {
        match std::mem::replace(self, Self::Closed) {
            Self::Response(response) => response.finish().await,
            Self::Closed | Self::Stream(_) | Self::Samples(_) => Ok(()),
        }
    }

    /// Ends a response that cannot be completed. A body that has begun ends with an error.
    pub(crate) fn abort(&mut self) {
        let Self::Response(response) = std::mem::replace(self, Self::Closed) else {
            return;
        };
        let Some(stream) = response.stream else {
            return;
        };
        // If the channel is full, closing it without this item would look like a complete body, so a task waits for
        // room.
        if let Err(mpsc::error::TrySendError::Full(item)) = stream.try_send(Err(BodyInterrupted)) {
            tokio::spawn(async move { stream.send(item).await });
        }
    }
}

impl ResponseOutput {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        // A guest that writes little and waits long must also learn that its client has disconnected.
        let disconnected = self.stream.as_ref().is_some_and(mpsc::Sender::is_closed);
        if self.fault.is_some() || disconnected {
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

    /// Sends the head, with a channel for the body.
    fn begin(&mut self) {
        let Some(head) = self.head.take() else { return };
        let Some(answer) = self.answer.take() else {
            return;
        };
        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        self.stream = Some(sender);
        if head.status == CONNECTION_TAKEN {
            self.progress.record_upgraded();
        }
        self.progress.record_answered();
        // If the receiver has given up, this closes the channel, and the next send fails.
        let _ = answer.send(DynoResponse {
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
            self.progress.record_moved();
        }
    }

    async fn flush(&mut self) -> Result<(), Errno> {
        self.begin();
        let Some(stream) = &self.stream else {
            return Ok(());
        };
        let permit = stream.reserve().await.map_err(|_| Errno::Pipe)?;
        permit.send(Ok(self.buffer.split().freeze()));
        self.progress.record_moved();
        Ok(())
    }

    async fn finish(mut self) -> Result<(), OutputError> {
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        if self.stream.is_some() {
            if !self.buffer.is_empty() {
                // The request counts as served even if its client has disconnected.
                let _ = self.flush().await;
            }
            return Ok(());
        }
        let head = self.head.take().ok_or(OutputError::Nothing)?;
        self.progress.record_answered();
        if let Some(answer) = self.answer.take() {
            let body = DynoBody::Full(self.buffer.freeze());
            let _ = answer.send(DynoResponse { head, body });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> (Output, oneshot::Receiver<DynoResponse>) {
        let (sender, receiver) = oneshot::channel();
        (Output::response(sender, Arc::default()), receiver)
    }

    #[tokio::test]
    async fn small_response_arrives_in_one_piece() {
        let (mut output, answer) = output();
        output.write(b"Status: 200 OK\r\n\r\nhel").await.unwrap();
        output.write(b"lo").await.unwrap();
        output.finish().await.unwrap();
        let response = answer.await.unwrap();
        assert!(matches!(response.body, DynoBody::Full(body) if body == "hello"));
    }

    #[tokio::test]
    async fn output_is_sent_before_the_guest_waits() {
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
    async fn writer_of_a_large_response_waits_for_its_reader() {
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
    async fn write_after_the_receiver_is_dropped_is_a_broken_pipe() {
        let (mut output, answer) = output();
        drop(answer);
        let bytes = [b"Status: 200 OK\r\n\r\n".as_slice(), &vec![b'x'; 1 << 20]].concat();
        assert_eq!(output.write(&bytes).await, Err(Errno::Pipe));
        assert_eq!(output.finish().await, Ok(()));
    }

    #[tokio::test]
    async fn small_write_after_the_client_disconnects_is_a_broken_pipe() {
        let (mut output, answer) = output();
        output.write(b"Status: 200 OK\r\n\r\none").await.unwrap();
        output.flush_now();
        drop(answer.await.unwrap());
        assert_eq!(output.write(b"two").await, Err(Errno::Pipe));
    }

    #[tokio::test]
    async fn aborted_response_ends_in_an_error() {
        let (mut output, answer) = output();
        output.write(b"Status: 200 OK\r\n\r\nhalf").await.unwrap();
        output.flush_now();
        output.abort();
        let DynoBody::Stream(mut body) = answer.await.unwrap().body else {
            panic!("a stream")
        };
        assert_eq!(body.recv().await, Some(Ok("half".into())));
        assert_eq!(body.recv().await, Some(Err(BodyInterrupted)));
    }

    #[tokio::test]
    async fn output_without_a_response_head_is_an_error() {
        let (mut silent, _answer) = output();
        assert_eq!(silent.finish().await, Err(OutputError::Nothing));
        let (mut garbled, _answer) = output();
        assert_eq!(garbled.write(b"hello\n\n").await, Err(Errno::Pipe));
        assert!(matches!(garbled.finish().await, Err(OutputError::Head(_))));
    }
}
