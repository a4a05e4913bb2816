//! Endpoint of one-off commands: it makes a connection the stream of a command.
//!
//! [`corundum_abi::run_stream`] has the frames. Two tasks share the connection: one reads the client's frames and never waits
//! for the command, so that a signal arrives whatever the command does; the other writes output, grants and the status.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corundum_abi::run_stream::{ClientFrame, HEAD, NodeFrame, PROTOCOL, RunStart};
use corundum_abi::terminal_text::{AllowedControls, TerminalText};
use corundum_api::ErrorId;
use corundum_api::one_off::WRONG_PROTOCOL;
use corundum_host::console::{RunOutput, RunSession};
use corundum_host::grid::{DynoGrid, RunCommand};
use corundum_host::memory::MemoryLimits;
use corundum_store::AppRecord;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::ApiError;
use super::response::ApiResult;
use crate::connections::places::Place;

/// Pieces of output between the dyno and the client, of some kilobytes each: a slow client slows the command down.
const BUFFERED_PIECES: usize = 4;

/// Time for the first frame.
const START: Duration = Duration::from_secs(15);

/// Time for a command, as for any connection of the API.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Status of a command that did not run or did not end by itself.
const FAILED: i32 = 1;

/// Bytes of the output that are written at once.
const WRITE: usize = 64 << 10;

/// Makes the connection the stream of a command.
pub(super) fn upgrade(
    grid: &DynoGrid,
    app: &AppRecord,
    place: &Arc<Place>,
    mut request: Request<Incoming>,
) -> ApiResult {
    if !asks_for_upgrade(request.headers()) {
        return Err(ApiError::new(ErrorId::InvalidParams, WRONG_PROTOCOL));
    }
    let upgraded = hyper::upgrade::on(&mut request);
    let (grid, app, place) = (grid.clone(), app.clone(), place.clone());
    tokio::spawn(async move {
        // The connection keeps its place among the client's until the command ends.
        let _place = place;
        match upgraded.await {
            Ok(connection) => {
                let served = serve(&grid, &app, TokioIo::new(connection));
                match timeout(LIFETIME, served).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(app = %app.name, %error, "run ended early"),
                    Err(_) => tracing::debug!(app = %app.name, "run ended at its time limit"),
                }
            }
            Err(error) => tracing::debug!(app = %app.name, %error, "run not upgraded"),
        }
    });
    let body = Empty::<Bytes>::new().map_err(|never| match never {});
    let mut response = Response::new(BodyExt::boxed_unsync(body));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

/// Returns whether a request asks for the protocol of this module.
fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let has = |name, wanted: &str| {
        headers.get_all(name).iter().any(|value| {
            let mut words = value.to_str().unwrap_or_default().split(',');
            words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
        })
    };
    has(CONNECTION, "upgrade") && has(UPGRADE, PROTOCOL)
}

/// Runs the command of a connection to its end.
async fn serve(grid: &DynoGrid, app: &AppRecord, connection: TokioIo<Upgraded>) -> io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(connection);
    let start = timeout(START, read_start(&mut from_client)).await??;
    let (output, received) = mpsc::channel(BUFFERED_PIECES);
    let session = Arc::new(RunSession::new(start.terminal, output));
    let name = grid.one_off_name(&app.name).map_err(io::Error::other)?;
    let command = RunCommand {
        dyno: name,
        memory: MemoryLimits::hard(start.size.unwrap_or_default().memory()),
        release: None,
        arguments: start.command.into(),
        environ: start.env,
        session: session.clone(),
    };
    let writer = Writer {
        session: session.clone(),
        received,
    };
    // The run, and with it the dyno, ends with this function: when the client has gone, or sends what it must not.
    let run = async {
        let result = grid.run(&app.name, command).await;
        result.map_err(|error| error.to_string())
    };
    tokio::select! {
        written = writer.write(&mut to_client, run) => written,
        error = receive(&mut from_client, &session) => Err(error),
    }
}

/// Reads the first frame.
async fn read_start(from_client: &mut (impl AsyncRead + Unpin)) -> io::Result<RunStart> {
    let mut head = [0; HEAD];
    from_client.read_exact(&mut head).await?;
    let Some(ClientFrame::Start(length)) = ClientFrame::parse(head) else {
        return Err(invalid("the first frame is no start"));
    };
    let mut text = vec![0; length as usize];
    from_client.read_exact(&mut text).await?;
    let start: RunStart = serde_json::from_slice(&text).map_err(io::Error::other)?;
    let has_nul = |text: &str| text.contains('\0');
    let names = start.env.iter().map(|(name, _)| name.as_str());
    if names
        .clone()
        .any(|name| name.is_empty() || name.contains('='))
        || names
            .chain(start.env.iter().map(|(_, value)| value.as_str()))
            .any(has_nul)
        || start.command.iter().any(|word| has_nul(word))
        || start.command.is_empty()
    {
        return Err(invalid("the command cannot be passed to a process"));
    }
    Ok(start)
}

/// Passes the client's frames on until the client has gone or breaks the protocol.
async fn receive(from_client: &mut (impl AsyncRead + Unpin), session: &RunSession) -> io::Error {
    let mut bytes = Vec::new();
    loop {
        if let Err(error) = receive_frame(from_client, session, &mut bytes).await {
            return error;
        }
    }
}

async fn receive_frame(
    from_client: &mut (impl AsyncRead + Unpin),
    session: &RunSession,
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    let mut head = [0; HEAD];
    from_client.read_exact(&mut head).await?;
    match ClientFrame::parse(head) {
        Some(ClientFrame::Stdin(length)) => {
            bytes.resize(length as usize, 0);
            from_client.read_exact(bytes).await?;
            session.receive(bytes).map_err(io::Error::other)?;
        }
        Some(ClientFrame::StdinEnd) => session.end_input(),
        Some(ClientFrame::Resize(size)) => session.resize(size),
        Some(ClientFrame::Signal(number)) => session.send_signal(number),
        Some(ClientFrame::StdoutClosed) => session.close_stdout(),
        Some(ClientFrame::Start(_)) | None => return Err(invalid("an unknown frame")),
    }
    Ok(())
}

/// The frames for the client.
struct Writer {
    session: Arc<RunSession>,
    received: mpsc::Receiver<RunOutput>,
}

impl Writer {
    /// Writes output and grants while `run` goes on, and its status when it has ended.
    async fn write(
        self,
        to_client: &mut (impl AsyncWrite + Unpin),
        run: impl Future<Output = Result<i32, String>>,
    ) -> io::Result<()> {
        let Self {
            session,
            mut received,
        } = self;
        let mut run = std::pin::pin!(run);
        let mut frames = BytesMut::new();
        let result = loop {
            tokio::select! {
                biased;
                Some(output) = received.recv() => frame(&mut frames, output),
                bytes = session.grants() => {
                    frames.extend_from_slice(&NodeFrame::Grant(bytes).head());
                }
                result = &mut run => break result,
            }
            while frames.len() < WRITE
                && let Ok(output) = received.try_recv()
            {
                frame(&mut frames, output);
            }
            // The command must go on while the client reads, which may need something from it.
            let mut write = std::pin::pin!(write_all(to_client, &mut frames));
            tokio::select! {
                biased;
                written = &mut write => written?,
                result = &mut run => {
                    write.await?;
                    break result;
                }
            }
        };
        while let Ok(output) = received.try_recv() {
            frame(&mut frames, output);
        }
        let status = result.unwrap_or_else(|message| {
            let message = TerminalText::line(AllowedControls::default(), message.as_bytes());
            let line = if session.has_terminal() { "\r\n" } else { "\n" };
            let message = format!(" !     {message}{line}");
            frame(&mut frames, RunOutput::Stderr(message.into()));
            FAILED
        });
        frames.extend_from_slice(&NodeFrame::Status(status).head());
        write_all(to_client, &mut frames).await?;
        to_client.shutdown().await
    }
}

/// Appends the frame of some output.
fn frame(frames: &mut BytesMut, output: RunOutput) {
    let (head, bytes): (fn(u32) -> NodeFrame, Bytes) = match output {
        RunOutput::Stdout(bytes) => (NodeFrame::Stdout, bytes),
        RunOutput::Stderr(bytes) => (NodeFrame::Stderr, bytes),
    };
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    frames.extend_from_slice(&head(length).head());
    frames.extend_from_slice(&bytes);
}

/// Writes all frames. The connection fails if the client reads nothing for too long.
async fn write_all(
    to_client: &mut (impl AsyncWrite + Unpin),
    frames: &mut BytesMut,
) -> io::Result<()> {
    while !frames.is_empty() {
        if to_client.write_buf(frames).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    to_client.flush().await
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
