//! Endpoint of one-off commands, whose output streams to the client.

use std::sync::Arc;

use bytes::Bytes;
use corundum_abi::run_stream::{output_head, status_frame};
use corundum_api::one_off::OneOffCreate;
use corundum_host::grid::{DynoGrid, RunIo};
use corundum_store::AppRecord;
use futures_util::{Stream, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::{mpsc, oneshot};

use super::response::{ApiResult, read};

/// Pieces of output between the dyno and the client, of some kilobytes each: a slow client slows the command down.
const BUFFERED_PIECES: usize = 4;

/// Runs a command; the response has its output as it is printed, then its exit status, in the frames of
/// [`corundum_abi::run_stream`].
pub(super) async fn stream(
    grid: &DynoGrid,
    app: &AppRecord,
    request: Request<Incoming>,
) -> ApiResult {
    let OneOffCreate { command } = read(request).await?;
    let (output, received) = mpsc::channel(BUFFERED_PIECES);
    let (status, ended) = oneshot::channel();
    let (grid, app) = (grid.clone(), app.name.clone());
    tokio::spawn(async move {
        let input = futures_util::stream::empty().boxed();
        let client = output.clone();
        let running = grid.run(&app, Arc::from(command), RunIo { input, output });
        let result = tokio::select! {
            result = running => result,
            () = client.closed() => return,
        };
        let _ = status.send(match result {
            Ok(status) => status_frame(status).to_vec(),
            Err(error) => {
                let message = format!(" !     {error}\n").into_bytes();
                [frame(&message), status_frame(1).to_vec()].concat()
            }
        });
    });
    let pieces = received_stream(received).map(|bytes| Bytes::from(frame(&bytes)));
    let pieces = pieces.chain(futures_util::stream::once(async move {
        Bytes::from(ended.await.unwrap_or_else(|_| status_frame(1).to_vec()))
    }));
    Ok(Response::new(BodyExt::boxed_unsync(StreamBody::new(
        pieces.map(|bytes| Ok(Frame::data(bytes))),
    ))))
}

/// Makes a frame of output.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&output_head(length)[..], bytes].concat()
}

fn received_stream(receiver: mpsc::Receiver<Bytes>) -> impl Stream<Item = Bytes> {
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|bytes| (bytes, receiver))
    })
}
