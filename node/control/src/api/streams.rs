//! Answers that go on: a log that is followed, a command that runs.

use std::sync::Arc;

use bytes::Bytes;
use corundum_abi::names::AppName;
use corundum_abi::run_stream::{output_head, status_frame};
use corundum_host::grid::RunIo;
use futures_util::StreamExt;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::ApiBody;
use crate::platform::Platform;

/// The last lines as text, and with `tail=1` those to come.
pub(crate) fn logs(platform: &Platform, app: &AppName, query: &str) -> Response<ApiBody> {
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
    let (lines, followed) = platform.logs().follow(app, count);
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

/// Runs a command; its output follows as it comes, then its exit status, in the frames of [`corundum_abi::run_stream`].
pub(crate) fn run(
    platform: &Arc<Platform>,
    app: &AppName,
    command: Vec<String>,
) -> Response<ApiBody> {
    let (output, received) = mpsc::channel(4);
    let platform = platform.clone();
    let app = app.clone();
    let (status, ended) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let input = futures_util::stream::empty().boxed();
        let gone = output.clone();
        let running = platform
            .grid()
            .run(&app, Arc::from(command), RunIo { input, output });
        let result = tokio::select! {
            result = running => result,
            () = gone.closed() => return,
        };
        let _ = status.send(match result {
            Ok(status) => status_frame(status).to_vec(),
            Err(error) => {
                let words = format!(" !     {error}\n").into_bytes();
                [frame(&words), status_frame(1).to_vec()].concat()
            }
        });
    });
    let pieces = tokio_stream(received).map(|bytes| Bytes::from(frame(&bytes)));
    let pieces = pieces.chain(futures_util::stream::once(async move {
        Bytes::from(ended.await.unwrap_or_else(|_| status_frame(1).to_vec()))
    }));
    Response::new(BodyExt::boxed_unsync(StreamBody::new(
        pieces.map(|bytes| Ok(Frame::data(bytes))),
    )))
}

/// A frame of output. The grid hands it over in pieces of some kilobytes.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&output_head(length)[..], bytes].concat()
}

fn tokio_stream(receiver: mpsc::Receiver<Bytes>) -> impl futures_util::Stream<Item = Bytes> {
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|bytes| (bytes, receiver))
    })
}
