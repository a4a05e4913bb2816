//! A reader of several HTTP/1 responses on one connection.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// A response with its head as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawResponse {
    /// Status code.
    pub status: u16,
    /// All lines of the head, its blank line included.
    pub head: String,
    /// The body without chunk framing.
    pub body: Vec<u8>,
}

/// Reason that no response could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoResponse {
    /// The peer closed the connection, cleanly or not.
    Closed,
    /// No bytes arrived in time.
    Silence,
    /// The bytes are not a response.
    Garbage,
}

/// Reads responses from a stream.
pub struct ResponseReader<S> {
    stream: S,
    buffer: Vec<u8>,
    timeout: Duration,
}

/// Method of the request that a response answers: it decides whether the response has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerTo {
    /// HEAD: the response has no body.
    Head,
    /// Any other method.
    Other,
}

impl<S: AsyncRead + Unpin> ResponseReader<S> {
    /// Makes a reader that waits at most `timeout` for each read.
    pub fn new(stream: S, timeout: Duration) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            timeout,
        }
    }

    /// Returns the stream, to write to it.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Reads the next final response and skips interim ones.
    ///
    /// # Errors
    ///
    /// Returns the reason that no response could be read.
    pub async fn next(&mut self, to: AnswerTo) -> Result<RawResponse, NoResponse> {
        loop {
            let response = self.one(to).await?;
            if response.status >= 200 {
                return Ok(response);
            }
        }
    }

    async fn one(&mut self, to: AnswerTo) -> Result<RawResponse, NoResponse> {
        let head = self.through(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.ok_or(NoResponse::Garbage)?;
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let body = if to == AnswerTo::Head || status < 200 || status == 204 || status == 304 {
            Vec::new()
        } else if lower.contains("\r\ntransfer-encoding: chunked") {
            self.chunks().await?
        } else if let Some(length) = length {
            let length = length.trim().parse().map_err(|_| NoResponse::Garbage)?;
            self.exactly(length).await?
        } else {
            self.rest().await?
        };
        Ok(RawResponse { status, head, body })
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, NoResponse> {
        let mut body = Vec::new();
        loop {
            let size = self.through(b"\r\n").await?;
            let size = String::from_utf8_lossy(&size).trim().to_owned();
            let size = usize::from_str_radix(&size, 16).map_err(|_| NoResponse::Garbage)?;
            let mut chunk = self.exactly(size + 2).await?;
            chunk.truncate(size);
            body.extend(chunk);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn through(&mut self, end: &[u8]) -> Result<Vec<u8>, NoResponse> {
        loop {
            let found = self.buffer.windows(end.len()).position(|at| at == end);
            if let Some(at) = found {
                return Ok(self.buffer.drain(..at + end.len()).collect());
            }
            self.fill().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, NoResponse> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn rest(&mut self) -> Result<Vec<u8>, NoResponse> {
        loop {
            match self.fill().await {
                Ok(()) => {}
                Err(NoResponse::Closed) => return Ok(std::mem::take(&mut self.buffer)),
                Err(other) => return Err(other),
            }
        }
    }

    /// Reads until the peer closes the connection, and returns the bytes that arrive.
    ///
    /// # Errors
    ///
    /// Returns [`NoResponse::Silence`] if the connection stays open.
    pub async fn until_closed(&mut self) -> Result<Vec<u8>, NoResponse> {
        self.rest().await
    }

    async fn fill(&mut self) -> Result<(), NoResponse> {
        let mut piece = vec![0; 64 << 10];
        match tokio::time::timeout(self.timeout, self.stream.read(&mut piece)).await {
            Err(_) => Err(NoResponse::Silence),
            Ok(Err(_) | Ok(0)) => Err(NoResponse::Closed),
            Ok(Ok(length)) => {
                self.buffer.extend_from_slice(&piece[..length]);
                Ok(())
            }
        }
    }
}
