//! The node's side of the hooks: a socket in the data directory, which only its owner can reach.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use corundum_abi::terminal_text::{AllowedControls, TerminalText};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::hook::{self, ACCEPTED, HookRequest};
use super::push::Pushes;
use crate::data_dir::DataDir;

/// Bytes of one request.
const MAX_REQUEST: u64 = 1 << 20;

/// The time for a hook to describe its update, which it does at once.
const UPDATE: Duration = Duration::from_secs(10);

/// Listens for hooks.
///
/// # Errors
///
/// The socket cannot be created.
pub(crate) fn listen(data: &DataDir) -> io::Result<UnixListener> {
    let path = hook::socket_path(data.path());
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(&path)
}

/// Serves hooks until the task is aborted.
pub(crate) async fn serve(listener: UnixListener, pushes: Arc<Pushes>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let pushes = pushes.clone();
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, pushes).await {
                        tracing::warn!(%error, "could not answer a hook");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a hook");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, pushes: Arc<Pushes>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    let read = async { (&mut reader).take(MAX_REQUEST).read_line(&mut line).await };
    tokio::time::timeout(UPDATE, read).await??;
    let request: HookRequest = serde_json::from_str(&line)?;
    // The build must not wait for the reader of its output, so the channel has no bound of its own. A build's output is
    // limited by its process.
    let (lines, mut output) = mpsc::unbounded_channel::<String>();
    let relay = async {
        while let Some(line) = output.recv().await {
            writer.write_all(format!("{line}\n").as_bytes()).await?;
        }
        Ok::<_, io::Error>(())
    };
    let work = async {
        let result = match &request {
            HookRequest::Build(push) => pushes.build(push, &lines).await,
            HookRequest::Release {
                app,
                number,
                update,
            } => pushes.release(app, *number, update, &lines).await,
        };
        match result {
            Ok(()) => drop(lines.send(ACCEPTED.to_owned())),
            // The build has written the reason itself.
            Err(error) if error.is_rejection() => {}
            Err(error) => {
                // The text may quote the pushed tree.
                let text =
                    TerminalText::line(AllowedControls::default(), error.to_string().as_bytes());
                let text = text.replace('\n', "\n !     ");
                let _ = lines.send(format!(" !\n !     {text}\n !"));
            }
        }
        drop(lines);
    };
    let gone = async {
        // The hook sends nothing more, so a read returns when the hook has ended.
        let mut byte = [0];
        let _ = reader.read(&mut byte).await;
    };
    tokio::select! {
        (result, ()) = async { tokio::join!(relay, work) } => result,
        () = gone => {
            tracing::warn!("push aborted: the pusher disconnected");
            Ok(())
        }
    }
}
