//! The stream of a run, from the client's side.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use corundum_abi::run_stream::{ClientFrame, HEAD, MAX_FRAME, NodeFrame, RunStart, WINDOW};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};

use super::terminal;
use crate::output::Printer;
use crate::upgrade::Upgraded;

/// Frames that wait for the connection: a piece of input, and some signals.
const WAITING_FRAMES: usize = 8;

/// Bytes of input that are read at once.
const PIECE: usize = 16 << 10;

const ENDED: &str = "run: the node closed the connection before the command ended";

/// A frame for the node.
struct OutgoingFrame {
    head: ClientFrame,
    bytes: Vec<u8>,
}

impl OutgoingFrame {
    fn without_bytes(head: ClientFrame) -> Self {
        Self {
            head,
            bytes: Vec::new(),
        }
    }
}

/// Runs a command over the stream, and returns its exit status.
pub(super) async fn run(stream: Upgraded, start: RunStart) -> anyhow::Result<i32> {
    let Upgraded { mut read, write } = stream;
    let has_terminal = start.terminal.is_some();
    let (frames, waiting) = mpsc::channel(WAITING_FRAMES);
    let text = serde_json::to_vec(&start)?;
    frames
        .send(OutgoingFrame {
            head: ClientFrame::Start(u32::try_from(text.len())?),
            bytes: text,
        })
        .await
        .context(ENDED)?;
    // Standard input is read by a thread, because a read of a terminal cannot be cancelled.
    let grants = Arc::new(Semaphore::new(WINDOW as usize));
    let (input, granted) = (frames.clone(), grants.clone());
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || send_input(&input, &granted, &runtime));
    let mut signals = ClientSignals::new(has_terminal)?;
    let mut sending = std::pin::pin!(send(write, waiting));
    let mut output = CommandOutput::new(has_terminal);
    let status = {
        let mut reading = std::pin::pin!(read_output(&mut read, &mut output, &grants, &frames));
        loop {
            let frame = tokio::select! {
                status = &mut reading => break status?,
                // The node may have sent a status before it closed the connection.
                sent = &mut sending => {
                    let status = reading.await;
                    return status.or_else(|error| sent.and(Err(error)));
                }
                frame = signals.next() => frame,
            };
            // A connection that takes nothing takes no signal either, so the run is over.
            if frames
                .try_send(OutgoingFrame::without_bytes(frame))
                .is_err()
            {
                anyhow::bail!("run: the node does not take the signal; the connection is closed");
            }
        }
    };
    output.finish()?;
    Ok(status)
}

/// Prints output until the command's status arrives.
async fn read_output(
    read: &mut (impl AsyncReadExt + Unpin),
    output: &mut CommandOutput,
    grants: &Semaphore,
    frames: &mpsc::Sender<OutgoingFrame>,
) -> anyhow::Result<i32> {
    loop {
        match read_frame(read, output, grants).await? {
            ReadFrame::Output => {}
            ReadFrame::StdoutClosed => {
                let closed = OutgoingFrame::without_bytes(ClientFrame::StdoutClosed);
                frames.send(closed).await.context(ENDED)?;
            }
            ReadFrame::Status(status) => return Ok(status),
        }
    }
}

/// Returns an exit status as a process has it.
pub(super) fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status & 0xff).unwrap_or(1))
}

/// Sends standard input until it ends.
fn send_input(
    frames: &mpsc::Sender<OutgoingFrame>,
    grants: &Semaphore,
    runtime: &tokio::runtime::Handle,
) {
    let mut stdin = io::stdin().lock();
    loop {
        let mut bytes = vec![0; PIECE];
        let read = match stdin.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A closed or unreadable standard input has ended.
            Err(_) => break,
        };
        bytes.truncate(read);
        let length = u32::try_from(read).unwrap_or(MAX_FRAME);
        let Ok(granted) = runtime.block_on(grants.acquire_many(length)) else {
            return;
        };
        granted.forget();
        let head = ClientFrame::Stdin(length);
        if frames.blocking_send(OutgoingFrame { head, bytes }).is_err() {
            return;
        }
    }
    let end = OutgoingFrame::without_bytes(ClientFrame::StdinEnd);
    let _ = frames.blocking_send(end);
}

/// Writes frames to the connection until it fails.
async fn send(
    mut write: impl AsyncWrite + Unpin,
    mut waiting: mpsc::Receiver<OutgoingFrame>,
) -> anyhow::Result<()> {
    while let Some(frame) = waiting.recv().await {
        write.write_all(&frame.head.head()).await.context(ENDED)?;
        write.write_all(&frame.bytes).await.context(ENDED)?;
        write.flush().await.context(ENDED)?;
    }
    Ok(())
}

/// A frame that was handled.
enum ReadFrame {
    Output,
    StdoutClosed,
    Status(i32),
}

async fn read_frame(
    read: &mut (impl AsyncReadExt + Unpin),
    output: &mut CommandOutput,
    grants: &Semaphore,
) -> anyhow::Result<ReadFrame> {
    let mut head = [0; HEAD];
    read.read_exact(&mut head).await.context(ENDED)?;
    let frame = NodeFrame::parse(head).context("run: the node sent an invalid frame")?;
    let (length, to_stderr) = match frame {
        NodeFrame::Stdout(length) => (length, false),
        NodeFrame::Stderr(length) => (length, true),
        NodeFrame::Grant(bytes) => {
            // The window regains the bytes that were sent, so that there are never more than the window's.
            let granted = usize::try_from(bytes)?;
            let most = (WINDOW as usize).saturating_sub(grants.available_permits());
            grants.add_permits(granted.min(most));
            return Ok(ReadFrame::Output);
        }
        NodeFrame::Status(status) => return Ok(ReadFrame::Status(status)),
    };
    let mut bytes = vec![0; length as usize];
    read.read_exact(&mut bytes).await.context(ENDED)?;
    // A reader of this process that is slow holds up the command, and nothing else.
    let was_closed = output.stdout_closed;
    tokio::task::block_in_place(|| output.write(&bytes, to_stderr))?;
    Ok(match output.stdout_closed && !was_closed {
        true => ReadFrame::StdoutClosed,
        false => ReadFrame::Output,
    })
}

/// The standard output and standard error of this process.
struct CommandOutput {
    stdout: Printer,
    stderr: Printer,
    stdout_closed: bool,
}

impl CommandOutput {
    /// With a terminal, the command controls it, as any program does that the user starts in one.
    fn new(has_terminal: bool) -> Self {
        Self {
            stdout: match has_terminal {
                true => Printer::of_terminal(),
                false => Printer::of_command(),
            },
            stderr: Printer::of_command_stderr(),
            stdout_closed: false,
        }
    }

    fn write(&mut self, bytes: &[u8], to_stderr: bool) -> io::Result<()> {
        if to_stderr {
            // A standard error that does not work leaves no place for a message.
            let _ = self
                .stderr
                .write_all(bytes)
                .and_then(|()| self.stderr.flush());
            return Ok(());
        }
        if self.stdout_closed {
            return Ok(());
        }
        let written = self.stdout.write_all(bytes);
        match written.and_then(|()| self.stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.stdout_closed = true;
                Ok(())
            }
            other => other,
        }
    }

    fn finish(self) -> io::Result<()> {
        let _ = self.stderr.finish();
        match self.stdout_closed {
            true => Ok(()),
            false => self.stdout.finish(),
        }
    }
}

/// The signals of this process that concern the command.
struct ClientSignals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hang_up: Signal,
    user_1: Signal,
    user_2: Signal,
    resize: Option<Signal>,
}

impl ClientSignals {
    fn new(has_terminal: bool) -> io::Result<Self> {
        let resize = match has_terminal {
            true => Some(signal(SignalKind::window_change())?),
            false => None,
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
            resize,
        })
    }

    /// Waits for the next signal, and returns its frame.
    async fn next(&mut self) -> ClientFrame {
        let resized = async {
            match &mut self.resize {
                Some(resize) => resize.recv().await,
                None => std::future::pending().await,
            }
        };
        let number =
            |kind: SignalKind| ClientFrame::Signal(u32::try_from(kind.as_raw_value()).unwrap_or(0));
        tokio::select! {
            _ = self.interrupt.recv() => number(SignalKind::interrupt()),
            _ = self.quit.recv() => number(SignalKind::quit()),
            _ = self.terminate.recv() => number(SignalKind::terminate()),
            _ = self.hang_up.recv() => number(SignalKind::hangup()),
            _ = self.user_1.recv() => number(SignalKind::user_defined1()),
            _ = self.user_2.recv() => number(SignalKind::user_defined2()),
            _ = resized => ClientFrame::Resize(terminal::window_size()),
        }
    }
}
