//! An HTTP/2 client that sends raw frames.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::frame::{ACK, PREFACE, ReceivedFrame, SETTINGS, frame};
use corundum_router_test_support::router::TestRouter;

/// Time to wait for a frame, or for the server to read.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A connection after the exchange of settings.
pub(crate) struct Http2Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Settings of the server.
    pub(crate) settings: Vec<(u16, u32)>,
}

impl Http2Client {
    /// Connects to the router and exchanges settings.
    pub(crate) async fn connect(router: &TestRouter) -> Self {
        let mut client = Self {
            stream: router.connect().await,
            buffer: Vec::new(),
            settings: Vec::new(),
        };
        client.stream.set_nodelay(true).unwrap();
        client.send(PREFACE).await;
        client.send(&frame(SETTINGS, 0, 0, b"")).await;
        let settings = client
            .until(|frame| frame.kind == SETTINGS && frame.flags == 0)
            .await;
        let pairs = settings.unwrap().payload;
        client.settings = pairs
            .chunks_exact(6)
            .map(|pair| {
                let value = u32::from_be_bytes(pair[2..].try_into().unwrap());
                (u16::from_be_bytes([pair[0], pair[1]]), value)
            })
            .collect();
        client.send(&frame(SETTINGS, ACK, 0, b"")).await;
        let acknowledged = client
            .until(|frame| frame.kind == SETTINGS && frame.flags == ACK)
            .await;
        acknowledged.unwrap();
        client
    }

    /// Sends bytes. Returns whether the server took all of them in time.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = tokio::time::timeout(TIMEOUT, self.stream.write_all(bytes)).await;
        matches!(sent, Ok(Ok(())))
    }

    /// Reads until a frame that is `wanted`.
    ///
    /// # Errors
    ///
    /// Returns the other frames that arrived if the connection closes or times out.
    pub(crate) async fn until(
        &mut self,
        wanted: impl Fn(&ReceivedFrame) -> bool,
    ) -> Result<ReceivedFrame, String> {
        let mut others = Vec::new();
        loop {
            while let Some(frame) = ReceivedFrame::take(&mut self.buffer) {
                if wanted(&frame) {
                    return Ok(frame);
                }
                others.push((frame.kind, frame.stream, frame.flags, frame.code()));
            }
            match self.read().await {
                Some(0) => return Err(format!("closed after {others:?}")),
                Some(_) => {}
                None => return Err(format!("timeout after {others:?}")),
            }
        }
    }

    /// Waits until the server closes the connection.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection stays open.
    pub(crate) async fn until_closed(&mut self) -> Result<(), String> {
        loop {
            match self.read().await {
                Some(0) => return Ok(()),
                Some(_) => {}
                None => return Err("not closed".to_owned()),
            }
        }
    }

    async fn read(&mut self) -> Option<usize> {
        let read = self.stream.read_buf(&mut self.buffer);
        let read = tokio::time::timeout(TIMEOUT, read).await.ok()?;
        Some(read.unwrap_or(0))
    }
}
