//! The state that a client and the dyno of its command share.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use corundum_abi::run_stream::{MAX_FRAME, WINDOW, WindowSize};
use tokio::sync::{Notify, mpsc};
use wasi_common::snapshots::preview_1::types::Errno;

use super::line_discipline::{LineDiscipline, TerminalAttributes};

/// Bytes of output in one message. A terminal writes each of them as two at most.
const PIECE: usize = MAX_FRAME as usize / 2;
/// The highest number of a signal.
const MAX_SIGNAL: u32 = 63;
const SIGHUP: u32 = 1;
const SIGWINCH: u32 = 28;

/// Output of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutput {
    /// From descriptor 1, or shown by a terminal.
    Stdout(Bytes),
    /// From descriptor 2.
    Stderr(Bytes),
}

/// A descriptor for output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandardOutput {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// A client sent more input than the dyno had room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more input than was granted")]
pub struct InputOverflow;

/// The streams, the signals and the terminal of a command.
#[derive(Debug)]
pub struct RunSession {
    input: Mutex<SessionInput>,
    /// Tells the dyno that there is input or a signal.
    changed: Notify,
    /// Wakes the task that polls the dyno's descriptors.
    waker: Mutex<Option<Waker>>,
    /// Bytes of input that the dyno has taken since the client was last granted some.
    taken: AtomicU64,
    /// Tells the client's side that bytes were taken.
    granted: Notify,
    output: mpsc::Sender<RunOutput>,
    stdout_closed: AtomicBool,
    /// Signals that the dyno has not received; bit n stands for signal n.
    signals: AtomicU64,
    /// True if a wait of the dyno has to end for a signal.
    interrupts: AtomicBool,
}

#[derive(Debug)]
enum SessionInput {
    Pipe {
        bytes: VecDeque<u8>,
        has_ended: bool,
    },
    Terminal {
        discipline: Box<LineDiscipline>,
        size: WindowSize,
    },
}

impl RunSession {
    /// Bytes of the host's memory for a session with `pieces` messages in its channel: its input, its output and the
    /// piece that is being written.
    pub(crate) fn memory(pieces: usize) -> usize {
        WINDOW as usize + (pieces + 1) * MAX_FRAME as usize
    }

    /// Creates the session of a command whose output goes to `output`. `terminal` is the size of its terminal, if it has
    /// one.
    pub fn new(terminal: Option<WindowSize>, output: mpsc::Sender<RunOutput>) -> Self {
        let input = match terminal {
            None => SessionInput::Pipe {
                bytes: VecDeque::new(),
                has_ended: false,
            },
            Some(size) => SessionInput::Terminal {
                discipline: Box::new(LineDiscipline::new()),
                size,
            },
        };
        Self {
            input: Mutex::new(input),
            changed: Notify::new(),
            waker: Mutex::default(),
            taken: AtomicU64::new(0),
            granted: Notify::new(),
            output,
            stdout_closed: AtomicBool::new(false),
            signals: AtomicU64::new(0),
            interrupts: AtomicBool::new(false),
        }
    }

    fn input(&self) -> MutexGuard<'_, SessionInput> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the most messages that the channel of output holds.
    pub(crate) fn pieces(&self) -> usize {
        self.output.max_capacity()
    }

    // The client's side.

    /// Takes input from the client: bytes for descriptor 0, or keys of the terminal.
    ///
    /// # Errors
    ///
    /// [`InputOverflow`] if the dyno has not taken as much as the client was granted.
    pub fn receive(&self, bytes: &[u8]) -> Result<(), InputOverflow> {
        let effects = match &mut *self.input() {
            SessionInput::Pipe {
                bytes: waiting,
                has_ended,
            } => {
                if *has_ended || waiting.len() + bytes.len() > WINDOW as usize {
                    return Err(InputOverflow);
                }
                waiting.extend(bytes);
                None
            }
            SessionInput::Terminal { discipline, .. } => Some(discipline.push(bytes)),
        };
        if let Some(effects) = effects {
            // The line discipline bounds the keys that wait, so the client may send more at once.
            self.grant(bytes.len());
            if !effects.echo.is_empty() {
                // A client that does not read gets no echo either.
                let _ = self.output.try_send(RunOutput::Stdout(effects.echo.into()));
            }
            for signal in effects.signals {
                self.send_signal(u32::from(signal));
            }
        }
        self.notify();
        Ok(())
    }

    /// Ends the input.
    pub fn end_input(&self) {
        match &mut *self.input() {
            SessionInput::Pipe { has_ended, .. } => *has_ended = true,
            SessionInput::Terminal { discipline, .. } => discipline.end(),
        }
        self.notify();
    }

    /// Notes that nobody reads descriptor 1 any more, so that writes to it fail.
    pub fn close_stdout(&self) {
        self.stdout_closed.store(true, Ordering::Release);
    }

    /// Changes the size of the terminal's window, and tells the command about it.
    pub fn resize(&self, new: WindowSize) {
        let has_changed = match &mut *self.input() {
            SessionInput::Terminal { size, .. } => std::mem::replace(size, new) != new,
            SessionInput::Pipe { .. } => false,
        };
        if has_changed {
            self.send_signal(SIGWINCH);
        }
    }

    /// Sends the command a signal. Unknown numbers have no effect.
    pub fn send_signal(&self, number: u32) {
        if !(SIGHUP..=MAX_SIGNAL).contains(&number) {
            return;
        }
        self.signals.fetch_or(1 << number, Ordering::AcqRel);
        self.interrupts.store(true, Ordering::Release);
        self.notify();
    }

    /// Waits until the dyno has taken input, and returns how many bytes more the client may send.
    pub async fn grants(&self) -> u32 {
        loop {
            let taken = self.taken.swap(0, Ordering::AcqRel);
            if taken > 0 {
                return u32::try_from(taken).unwrap_or(u32::MAX);
            }
            self.granted.notified().await;
        }
    }

    fn grant(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::AcqRel);
        self.granted.notify_one();
    }

    // The dyno's side.

    /// Returns whether the command has a terminal.
    pub fn has_terminal(&self) -> bool {
        matches!(&*self.input(), SessionInput::Terminal { .. })
    }

    /// Returns the signals that have arrived since the last call.
    pub(crate) fn take_signals(&self) -> u64 {
        self.interrupts.store(false, Ordering::Release);
        self.signals.swap(0, Ordering::AcqRel)
    }

    /// Waits for a signal that ends a program which handles none, and returns its number.
    pub(crate) async fn fatal_signal(&self) -> u32 {
        // Child, continue, urgent data, window and the four that stop a process.
        const HARMLESS: u64 = 1 << 17 | 1 << 18 | 1 << 23 | 1 << SIGWINCH | 0b1111 << 19;
        let fatal = |signals: u64| (signals & !HARMLESS).trailing_zeros();
        self.wait_for(|| {
            let number = fatal(self.signals.load(Ordering::Acquire));
            (number < u64::BITS).then_some(number)
        })
        .await
    }

    /// Waits for a signal, and returns once for each.
    pub(crate) async fn interrupted(&self) {
        let take = || self.interrupts.swap(false, Ordering::AcqRel).then_some(());
        self.wait_for(take).await;
    }

    /// Calls `ready` after each change until it returns something.
    async fn wait_for<R>(&self, mut ready: impl FnMut() -> Option<R>) -> R {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(result) = ready() {
                return result;
            }
            changed.await;
        }
    }

    /// Reads at once; returns `None` if a read would wait.
    fn try_read(&self, buffer: &mut [u8], minimum: usize) -> Option<usize> {
        match &mut *self.input() {
            SessionInput::Pipe { bytes, has_ended } => {
                let length = bytes.len().min(buffer.len());
                if length == 0 {
                    return has_ended.then_some(0);
                }
                for (place, byte) in buffer.iter_mut().zip(bytes.drain(..length)) {
                    *place = byte;
                }
                self.grant(length);
                Some(length)
            }
            SessionInput::Terminal { discipline, .. } => {
                let available = discipline.readable()?;
                let is_enough = discipline.raw_wait().is_none()
                    || available == 0
                    || available >= minimum.min(buffer.len());
                is_enough.then(|| discipline.read(buffer))
            }
        }
    }

    /// Returns how long a read in the terminal's mode waits: the bytes that it needs, and its time limit.
    fn read_bounds(&self) -> (usize, Option<Duration>) {
        let wait = match &*self.input() {
            SessionInput::Terminal { discipline, .. } => discipline.raw_wait(),
            SessionInput::Pipe { .. } => None,
        };
        match wait {
            None => (1, None),
            Some(wait) if wait.minimum == 0 => {
                let limit = Duration::from_millis(u64::from(wait.tenths) * 100);
                (1, Some(limit))
            }
            Some(wait) => (wait.minimum, None),
        }
    }

    /// Reads descriptor 0 into `buffer`; 0 bytes mean the end.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the descriptor does not wait, `EINTR` if a signal arrives first.
    pub(crate) async fn read(&self, buffer: &mut [u8], waits: bool) -> Result<usize, Errno> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let (minimum, limit) = self.read_bounds();
        if !waits {
            return self.try_read(buffer, 1).ok_or(Errno::Again);
        }
        let read = self.wait_for(|| match self.interrupts.swap(false, Ordering::AcqRel) {
            true => Some(Err(Errno::Intr)),
            false => self.try_read(buffer, minimum).map(Ok),
        });
        match limit {
            None => read.await,
            // A read without a minimum returns nothing when its time is over.
            Some(limit) => tokio::time::timeout(limit, read).await.unwrap_or(Ok(0)),
        }
    }

    /// Waits until a read would return at once.
    pub(crate) async fn readable(&self) {
        self.wait_for(|| self.is_readable().then_some(())).await;
    }

    /// Returns the bytes that a read would get at once, or wakes the task when there may be some.
    pub(crate) fn poll_readable(&self, task: &mut Context<'_>) -> Poll<u64> {
        *self.waker() = Some(task.waker().clone());
        match self.is_readable() {
            true => Poll::Ready(self.ready_bytes() as u64),
            false => Poll::Pending,
        }
    }

    fn is_readable(&self) -> bool {
        self.ready_bytes() > 0 || self.is_at_end()
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the dyno, wherever it waits, that something has changed.
    fn notify(&self) {
        self.changed.notify_waiters();
        let waker = self.waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns the bytes that a read would get at once.
    pub(crate) fn ready_bytes(&self) -> usize {
        match &*self.input() {
            SessionInput::Pipe { bytes, .. } => bytes.len(),
            SessionInput::Terminal { discipline, .. } => discipline.readable().unwrap_or(0),
        }
    }

    fn is_at_end(&self) -> bool {
        match &*self.input() {
            SessionInput::Pipe { bytes, has_ended } => bytes.is_empty() && *has_ended,
            SessionInput::Terminal { discipline, .. } => discipline.readable() == Some(0),
        }
    }

    /// Writes to a descriptor, and returns how many bytes were accepted.
    ///
    /// # Errors
    ///
    /// `EPIPE` if nobody reads, `EAGAIN` if the descriptor does not wait, `EINTR` if a signal arrives first.
    pub(crate) async fn write(
        &self,
        to: StandardOutput,
        bytes: &[u8],
        waits: bool,
    ) -> Result<usize, Errno> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        if piece.is_empty() {
            return Ok(0);
        }
        let message = {
            match &*self.input() {
                SessionInput::Terminal { discipline, .. } => {
                    let mut shown = Vec::with_capacity(piece.len());
                    discipline.attributes().process_output(piece, &mut shown);
                    RunOutput::Stdout(shown.into())
                }
                SessionInput::Pipe { .. } => {
                    let bytes = Bytes::copy_from_slice(piece);
                    match to {
                        StandardOutput::Stdout if self.stdout_closed.load(Ordering::Acquire) => {
                            return Err(Errno::Pipe);
                        }
                        StandardOutput::Stdout => RunOutput::Stdout(bytes),
                        StandardOutput::Stderr => RunOutput::Stderr(bytes),
                    }
                }
            }
        };
        if !waits {
            return match self.output.try_send(message) {
                Ok(()) => Ok(piece.len()),
                Err(mpsc::error::TrySendError::Full(_)) => Err(Errno::Again),
                Err(mpsc::error::TrySendError::Closed(_)) => Err(Errno::Pipe),
            };
        }
        tokio::select! {
            biased;
            sent = self.output.reserve() => match sent {
                Ok(permit) => {
                    permit.send(message);
                    Ok(piece.len())
                }
                Err(_) => Err(Errno::Pipe),
            },
            () = self.interrupted() => Err(Errno::Intr),
        }
    }

    /// Waits until a write would be accepted, or fail, at once.
    pub(crate) async fn writable(&self) {
        let _ = self.output.reserve().await;
    }

    /// Waits until the client has gone.
    pub(crate) async fn abandoned(&self) {
        self.output.closed().await;
    }

    // The terminal.

    /// Returns the terminal's settings; `None` without a terminal.
    pub(crate) fn attributes(&self) -> Option<[u8; TerminalAttributes::SIZE]> {
        match &*self.input() {
            SessionInput::Terminal { discipline, .. } => Some(discipline.attributes().to_bytes()),
            SessionInput::Pipe { .. } => None,
        }
    }

    /// Changes the terminal's settings, and discards its unread input on demand. Returns `None` without a terminal.
    pub(crate) fn set_attributes(
        &self,
        attributes: &[u8; TerminalAttributes::SIZE],
        discard: bool,
    ) -> Option<()> {
        let SessionInput::Terminal { discipline, .. } = &mut *self.input() else {
            return None;
        };
        discipline.set_attributes(TerminalAttributes::from_bytes(attributes));
        if discard {
            discipline.discard_input();
        }
        self.notify();
        Some(())
    }

    /// Discards the terminal's unread input. Returns `None` without a terminal.
    pub(crate) fn discard_input(&self) -> Option<()> {
        let SessionInput::Terminal { discipline, .. } = &mut *self.input() else {
            return None;
        };
        discipline.discard_input();
        Some(())
    }

    /// Returns the size of the terminal's window; `None` without a terminal.
    pub(crate) fn window_size(&self) -> Option<WindowSize> {
        match &*self.input() {
            SessionInput::Terminal { size, .. } => Some(*size),
            SessionInput::Pipe { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(terminal: bool) -> (RunSession, mpsc::Receiver<RunOutput>) {
        let (sender, receiver) = mpsc::channel(2);
        let size = WindowSize {
            rows: 24,
            columns: 80,
        };
        (RunSession::new(terminal.then_some(size), sender), receiver)
    }

    async fn read(session: &RunSession) -> Result<String, Errno> {
        let mut buffer = [0; 100];
        let length = session.read(&mut buffer, true).await?;
        Ok(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    #[tokio::test]
    async fn input_is_granted_when_it_is_read() {
        let (session, _output) = session(false);
        let window = vec![b'x'; WINDOW as usize];
        session.receive(&window).unwrap();
        assert_eq!(session.receive(b"y"), Err(InputOverflow));
        assert_eq!(read(&session).await.unwrap().len(), 100);
        assert_eq!(session.grants().await, 100);
        session.receive(&[b'y'; 100]).unwrap();
        session.end_input();
        assert_eq!(session.receive(b"z"), Err(InputOverflow));
        let mut all = 0;
        while let Ok(part) = read(&session).await {
            if part.is_empty() {
                break;
            }
            all += part.len();
        }
        assert_eq!(all, WINDOW as usize);
    }

    #[tokio::test]
    async fn signal_interrupts_one_wait() {
        let (session, _output) = session(false);
        session.send_signal(15);
        session.send_signal(1000);
        session.send_signal(0);
        assert_eq!(read(&session).await, Err(Errno::Intr));
        assert_eq!(session.take_signals(), 1 << 15);
        session.receive(b"a").unwrap();
        assert_eq!(read(&session).await.unwrap(), "a");
        session.send_signal(SIGWINCH);
        let fatal = session.fatal_signal();
        tokio::select! {
            biased;
            _ = fatal => panic!("a resize must not end a program"),
            () = tokio::task::yield_now() => {}
        }
        session.send_signal(2);
        assert_eq!(session.fatal_signal().await, 2);
    }

    #[tokio::test]
    async fn writer_waits_for_its_reader_and_learns_that_nobody_reads() {
        let (session, mut output) = session(false);
        for _ in 0..2 {
            let written = session.write(StandardOutput::Stdout, b"ab", true).await;
            assert_eq!(written, Ok(2));
        }
        let full = session.write(StandardOutput::Stderr, b"c", false).await;
        assert_eq!(full, Err(Errno::Again));
        assert_eq!(output.recv().await, Some(RunOutput::Stdout("ab".into())));
        session.close_stdout();
        let closed = session.write(StandardOutput::Stdout, b"d", true).await;
        assert_eq!(closed, Err(Errno::Pipe));
        let written = session.write(StandardOutput::Stderr, b"e", true).await;
        assert_eq!(written, Ok(1));
        drop(output);
        let lost = session.write(StandardOutput::Stderr, b"f", true).await;
        assert_eq!(lost, Err(Errno::Pipe));
    }

    #[tokio::test]
    async fn terminal_echoes_edits_and_interrupts() {
        let (session, mut output) = session(true);
        session.receive(b"a\x7fhi\r").unwrap();
        assert_eq!(session.grants().await, 5);
        assert_eq!(
            output.recv().await,
            Some(RunOutput::Stdout("a\x08 \x08hi\r\n".into()))
        );
        assert_eq!(read(&session).await.unwrap(), "hi\n");
        session
            .write(StandardOutput::Stderr, b"x\n", true)
            .await
            .unwrap();
        assert_eq!(output.recv().await, Some(RunOutput::Stdout("x\r\n".into())));
        session.receive(b"\x03").unwrap();
        assert_eq!(session.take_signals(), 1 << 2);
        let same = session.window_size().unwrap();
        session.resize(same);
        assert_eq!(session.take_signals(), 0);
        session.resize(WindowSize { rows: 10, ..same });
        assert_eq!(session.take_signals(), 1 << SIGWINCH);
        // Without a minimum, a raw read returns at once.
        let mut raw = session.attributes().unwrap();
        raw[12] &= !2;
        raw[17 + 6] = 0;
        session.set_attributes(&raw, true).unwrap();
        assert_eq!(read(&session).await.unwrap(), "");
    }
}
