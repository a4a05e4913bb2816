//! Sends batches of lines: as frames on a persistent connection (syslog), or as HTTP requests.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::connection::{DrainPolicy, DrainStream};
use super::message::SyslogMessage;
use super::target::{DrainProtocol, DrainTarget};

/// The time for a batch to be delivered.
const DELIVER: Duration = Duration::from_secs(30);

/// Sends the batches of one drain.
pub(super) struct Delivery {
    target: DrainTarget,
    policy: DrainPolicy,
    /// The name by which the receiver knows the drain, `d.UUID`.
    token: String,
    /// The connection of a syslog drain, kept between batches.
    open: Option<Box<dyn DrainStream>>,
}

/// A batch that was not delivered.
#[derive(Debug)]
pub(super) enum Undelivered {
    /// The receiver refuses the batch for good.
    Refused(StatusCode),
    /// A later attempt may succeed.
    Failed(anyhow::Error),
}

impl Delivery {
    pub(super) fn new(target: DrainTarget, policy: DrainPolicy, token: String) -> Self {
        Self {
            target,
            policy,
            token,
            open: None,
        }
    }

    /// Sends a batch. A batch that failed halfway may arrive twice when it is sent again.
    pub(super) async fn send(&mut self, batch: &[SyslogMessage]) -> Result<(), Undelivered> {
        let sent = tokio::time::timeout(DELIVER, async {
            match self.target.protocol {
                DrainProtocol::Https => self.post(batch).await,
                _ => self.write(batch).await.map_err(Undelivered::Failed),
            }
        });
        let sent = sent.await.unwrap_or_else(|_| {
            Err(Undelivered::Failed(anyhow::anyhow!(
                "the target accepts no data"
            )))
        });
        if sent.is_err() {
            self.open = None;
        }
        sent
    }

    async fn write(&mut self, batch: &[SyslogMessage]) -> anyhow::Result<()> {
        let open = match self.open.take() {
            Some(mut stream) => (!has_ended(&mut *stream).await).then_some(stream),
            None => None,
        };
        let mut stream = match open {
            Some(stream) => stream,
            None => self.policy.connect(&self.target).await?,
        };
        let frames: String = batch
            .iter()
            .map(|message| message.framed(&self.token))
            .collect();
        stream.write_all(frames.as_bytes()).await?;
        stream.flush().await?;
        self.open = Some(stream);
        Ok(())
    }

    async fn post(&self, batch: &[SyslogMessage]) -> Result<(), Undelivered> {
        let status = self.posted(batch).await.map_err(Undelivered::Failed)?;
        let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        if status.is_success() {
            Ok(())
        } else if status.is_client_error() && !later.contains(&status) {
            Err(Undelivered::Refused(status))
        } else {
            Err(Undelivered::Failed(anyhow::anyhow!(
                "the target responded with {status}"
            )))
        }
    }

    async fn posted(&self, batch: &[SyslogMessage]) -> anyhow::Result<StatusCode> {
        let stream = self.policy.connect(&self.target).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let sent = sender.send_request(self.request(batch)?).await;
        let status = match sent {
            Ok(response) => Ok(response.status()),
            Err(error) => Err(error).context("request failed"),
        };
        connection.abort();
        status
    }

    fn request(&self, batch: &[SyslogMessage]) -> anyhow::Result<Request<Full<Bytes>>> {
        let frames: String = batch.iter().map(|message| message.framed("host")).collect();
        let mut request = Request::post(&self.target.path)
            .header(HOST, self.target.authority())
            .header(USER_AGENT, concat!("corundum/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/logplex-1")
            .header("logplex-msg-count", batch.len())
            .header(
                "logplex-frame-id",
                uuid::Uuid::new_v4().simple().to_string(),
            )
            .header("logplex-drain-token", &self.token);
        if let Some(authorization) = self.target.authorization() {
            request = request.header(AUTHORIZATION, authorization);
        }
        Ok(request.body(Full::new(Bytes::from(frames)))?)
    }
}

/// Returns whether the receiver has closed a connection. A write to it would succeed and be lost.
async fn has_ended(stream: &mut dyn DrainStream) -> bool {
    use tokio::io::AsyncReadExt;
    let mut nothing = [0; 64];
    let read = tokio::time::timeout(Duration::ZERO, stream.read(&mut nothing)).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}
