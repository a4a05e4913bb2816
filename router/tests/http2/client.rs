//! A client that sends what it is told to.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::frame::{ACK, Frame, PREFACE, SETTINGS, frame};
use corundum_router_test_support::router::TestRouter;

const PATIENCE: Duration = Duration::from_secs(5);

/// A connection whose settings are exchanged.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The server's settings.
    pub(crate) settings: Vec<(u16, u32)>,
}

impl Client {
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

    /// Sends, as long as the server takes it. Whether it took all.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await;
        matches!(sent, Ok(Ok(())))
    }

    /// The next frame that is `wanted`.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Result<Frame, String> {
        let mut others = Vec::new();
        loop {
            while let Some(frame) = Frame::take(&mut self.buffer) {
                if wanted(&frame) {
                    return Ok(frame);
                }
                others.push((frame.kind, frame.stream, frame.flags, frame.code()));
            }
            match self.read().await {
                Some(0) => return Err(format!("closed after {others:?}")),
                Some(_) => {}
                None => return Err(format!("nothing more came after {others:?}")),
            }
        }
    }

    /// Waits until the server closes the connection.
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
        let read = tokio::time::timeout(PATIENCE, read).await.ok()?;
        Some(read.unwrap_or(0))
    }
}
