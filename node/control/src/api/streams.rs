//! Streaming responses: followed logs and running commands.

use std::sync::Arc;

use bytes::Bytes;
use corundum_abi::names::AppName;
use corundum_abi::run_stream::{output_head, status_frame};
use corundum_host::grid::{DynoGrid, RunIo};
use futures_util::StreamExt;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::response::ApiBody;
use crate::logs::Logs;

/// Returns the last lines as text, and with `tail=1` also later ones.
pub(super) fn logs(logs: &Logs, app: &AppName, query: &str) -> Response<ApiBody> {
    let option = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .into_iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    let count = option("num")
        .and_then(|text| text.parse().ok())
        .unwrap_or(100);
    let (lines, followed) = logs.follow(app, count);
    let frame = |line: String| Ok(Frame::data(Bytes::from(line + "\n")));
    let first = futures_util::stream::iter(lines.into_iter().map(move |line| frame(line.text())));
    let body = if option("tail").is_some() {
        let later = futures_util::stream::unfold(followed, move |mut followed| async move {
            use tokio::sync::broadcast::error::RecvError;
            let line = match followed.recv().await {
                Ok(line) => line.text(),
                Err(RecvError::Lagged(missed)) => format!(
                    "corundum[logs]: Error L10 (output buffer overflow): {missed} messages dropped"
                ),
                Err(RecvError::Closed) => return None,
            };
            Some((frame(line), followed))
        });
        BodyExt::boxed_unsync(StreamBody::new(first.chain(later)))
    } else {
        BodyExt::boxed_unsync(StreamBody::new(first))
    };
    Response::new(body)
}

/// The body of a request to run a command.
#[derive(Deserialize)]
pub(super) struct Run {
    pub(super) command: Vec<String>,
}

/// Runs a command and returns its output as it comes, then its exit status, in the frames of [`corundum_abi::run_stream`].
pub(super) fn run(grid: DynoGrid, app: &AppName, command: Vec<String>) -> Response<ApiBody> {
    let (output, received) = mpsc::channel(4);
    let app = app.clone();
    let (status, ended) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let input = futures_util::stream::empty().boxed();
        let gone = output.clone();
        let running = grid.run(&app, Arc::from(command), RunIo { input, output });
        let result = tokio::select! {
            result = running => result,
            () = gone.closed() => return,
        };
        let _ = status.send(match result {
            Ok(status) => status_frame(status).to_vec(),
            Err(error) => {
                let text = format!(" !     {error}\n").into_bytes();
                [frame(&text), status_frame(1).to_vec()].concat()
            }
        });
    });
    let chunks = tokio_stream(received).map(|bytes| Bytes::from(frame(&bytes)));
    let chunks = chunks.chain(futures_util::stream::once(async move {
        Bytes::from(ended.await.unwrap_or_else(|_| status_frame(1).to_vec()))
    }));
    Response::new(BodyExt::boxed_unsync(StreamBody::new(
        chunks.map(|bytes| Ok(Frame::data(bytes))),
    )))
}

/// Returns a frame of output. The grid passes output in chunks of some kilobytes.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&output_head(length)[..], bytes].concat()
}

fn tokio_stream(receiver: mpsc::Receiver<Bytes>) -> impl futures_util::Stream<Item = Bytes> {
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|bytes| (bytes, receiver))
    })
}
