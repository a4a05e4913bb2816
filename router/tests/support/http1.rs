//! A reader of HTTP/1 responses.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// A response as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// All lines of the head.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// What came instead of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instead {
    /// The connection was closed, cleanly or not.
    Closed,
    /// Nothing came in time.
    Silence,
    /// Something came that is no response.
    Garbage,
}

/// Reads responses from a stream.
pub(crate) struct Reader<S> {
    stream: S,
    buffer: Vec<u8>,
    patience: Duration,
}

/// Whether a response has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Head,
    Other,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            patience,
        }
    }

    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The next final response.
    pub(crate) async fn next(&mut self, to: To) -> Result<Response, Instead> {
        loop {
            let response = self.one(to).await?;
            if response.status >= 200 {
                return Ok(response);
            }
        }
    }

    async fn one(&mut self, to: To) -> Result<Response, Instead> {
        let head = self.through(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.ok_or(Instead::Garbage)?;
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let body = if to == To::Head || status < 200 || status == 204 || status == 304 {
            Vec::new()
        } else if lower.contains("\r\ntransfer-encoding: chunked") {
            self.chunks().await?
        } else if let Some(length) = length {
            let length = length.trim().parse().map_err(|_| Instead::Garbage)?;
            self.exactly(length).await?
        } else {
            self.rest().await?
        };
        Ok(Response { status, head, body })
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, Instead> {
        let mut body = Vec::new();
        loop {
            let size = self.through(b"\r\n").await?;
            let size = String::from_utf8_lossy(&size).trim().to_owned();
            let size = usize::from_str_radix(&size, 16).map_err(|_| Instead::Garbage)?;
            let mut chunk = self.exactly(size + 2).await?;
            chunk.truncate(size);
            body.extend(chunk);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn through(&mut self, end: &[u8]) -> Result<Vec<u8>, Instead> {
        loop {
            let found = self.buffer.windows(end.len()).position(|at| at == end);
            if let Some(at) = found {
                return Ok(self.buffer.drain(..at + end.len()).collect());
            }
            self.fill().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Instead> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn rest(&mut self) -> Result<Vec<u8>, Instead> {
        loop {
            match self.fill().await {
                Ok(()) => {}
                Err(Instead::Closed) => return Ok(std::mem::take(&mut self.buffer)),
                Err(other) => return Err(other),
            }
        }
    }

    /// Waits until the connection is closed; what still comes is returned.
    pub(crate) async fn until_closed(&mut self) -> Result<Vec<u8>, Instead> {
        self.rest().await
    }

    async fn fill(&mut self) -> Result<(), Instead> {
        let mut piece = vec![0; 64 << 10];
        match tokio::time::timeout(self.patience, self.stream.read(&mut piece)).await {
            Err(_) => Err(Instead::Silence),
            Ok(Err(_) | Ok(0)) => Err(Instead::Closed),
            Ok(Ok(length)) => {
                self.buffer.extend_from_slice(&piece[..length]);
                Ok(())
            }
        }
    }
}
