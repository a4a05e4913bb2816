//! How lines travel: as frames on a connection that stays, or as batches that are posted.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::connection::{Policy, Stream};
use super::message::Message;
use super::target::{Protocol, Target};

/// For a batch to be taken.
const DELIVER: Duration = Duration::from_secs(30);

/// Sends batches to where a drain leads.
pub(crate) struct Delivery {
    target: Target,
    policy: Policy,
    /// `d.UUID`, by which a receiver knows the drain.
    token: String,
    /// The connection of syslog, from batch to batch.
    open: Option<Box<dyn Stream>>,
}

/// A batch that did not arrive.
#[derive(Debug)]
pub(crate) enum Undelivered {
    /// The receiver wants it not, now nor later.
    Refused(StatusCode),
    /// It may arrive later.
    Failed(anyhow::Error),
}

impl Delivery {
    pub(crate) fn new(target: Target, policy: Policy, token: String) -> Self {
        Self {
            target,
            policy,
            token,
            open: None,
        }
    }

    /// Sends a batch. One that failed in the middle may arrive twice, when it is sent again.
    pub(crate) async fn send(&mut self, batch: &[Message]) -> Result<(), Undelivered> {
        let sent = tokio::time::timeout(DELIVER, async {
            match self.target.protocol {
                Protocol::Https => self.post(batch).await,
                _ => self.write(batch).await.map_err(Undelivered::Failed),
            }
        });
        let sent = sent
            .await
            .unwrap_or_else(|_| Err(Undelivered::Failed(anyhow::anyhow!("it takes nothing"))));
        if sent.is_err() {
            self.open = None;
        }
        sent
    }

    async fn write(&mut self, batch: &[Message]) -> anyhow::Result<()> {
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

    async fn post(&self, batch: &[Message]) -> Result<(), Undelivered> {
        let status = self.posted(batch).await.map_err(Undelivered::Failed)?;
        let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        if status.is_success() {
            Ok(())
        } else if status.is_client_error() && !later.contains(&status) {
            Err(Undelivered::Refused(status))
        } else {
            Err(Undelivered::Failed(anyhow::anyhow!("it answers {status}")))
        }
    }

    async fn posted(&self, batch: &[Message]) -> anyhow::Result<StatusCode> {
        let stream = self.policy.connect(&self.target).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let sent = sender.send_request(self.request(batch)?).await;
        let status = match sent {
            Ok(response) => Ok(response.status()),
            Err(error) => Err(error).context("the request"),
        };
        connection.abort();
        status
    }

    fn request(&self, batch: &[Message]) -> anyhow::Result<Request<Full<Bytes>>> {
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

/// Whether the receiver has closed a connection: what is written to it then seems to arrive, and does not.
async fn has_ended(stream: &mut dyn Stream) -> bool {
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
