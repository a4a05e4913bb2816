//! A stream of bytes between two descriptors of one dyno, in the host's memory.
//!
//! A guest makes one call at a time, so no channel changes while its dyno waits: one that is not ready will not become so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasi_common::snapshots::preview_1::types::Errno;

use crate::account::{Account, Charge, Holding};

/// Bytes that a channel holds, as Linux's pipes do.
const CAPACITY: usize = 64 << 10;
/// Bytes that a write puts in as a whole or not at all (`PIPE_BUF`).
const ATOMIC: usize = 4096;

struct Channel(Mutex<ChannelState>);

struct ChannelState {
    bytes: VecDeque<u8>,
    /// Covers the capacity of `bytes`.
    charge: Charge,
    has_reader: bool,
    has_writer: bool,
}

/// The end of a channel that bytes come out of.
pub(super) struct ReadEnd(Arc<Channel>);

/// The end of a channel that bytes go into.
pub(super) struct WriteEnd(Arc<Channel>);

/// Creates a channel.
pub(super) fn channel(account: &Arc<Account>) -> (ReadEnd, WriteEnd) {
    let channel = Arc::new(Channel(Mutex::new(ChannelState {
        bytes: VecDeque::new(),
        charge: account.charge(Holding::Sockets),
        has_reader: true,
        has_writer: true,
    })));
    (ReadEnd(channel.clone()), WriteEnd(channel))
}

impl Channel {
    fn state(&self) -> MutexGuard<'_, ChannelState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChannelState {
    /// Gives back the memory of a channel that is empty.
    fn release(&mut self) {
        self.bytes = VecDeque::new();
        let _ = self.charge.try_resize(0);
    }
}

impl ReadEnd {
    /// Reads into `buffer`. Returns 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the channel is empty.
    pub(super) fn read(&self, buffer: &mut [u8], peek: bool) -> Result<usize, Errno> {
        let mut state = self.0.state();
        if state.bytes.is_empty() && state.has_writer && state.has_reader && !buffer.is_empty() {
            return Err(Errno::Again);
        }
        let (front, back) = state.bytes.as_slices();
        let mut read = 0;
        for part in [front, back] {
            let length = part.len().min(buffer.len() - read);
            buffer[read..read + length].copy_from_slice(&part[..length]);
            read += length;
        }
        if !peek && read > 0 {
            state.bytes.drain(..read);
            if state.bytes.is_empty() && state.bytes.capacity() > ATOMIC {
                state.release();
            }
        }
        Ok(read)
    }

    /// Returns the bytes that can be read, and whether the stream ends after them.
    pub(super) fn readable(&self) -> (usize, bool) {
        let state = self.0.state();
        (state.bytes.len(), !state.has_writer || !state.has_reader)
    }

    /// Discards the bytes that come; the writer gets an error.
    pub(super) fn close(&self) {
        let mut state = self.0.state();
        state.has_reader = false;
        state.release();
    }
}

impl WriteEnd {
    /// Writes as many of `bytes` as there is room for.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the channel is full, `EPIPE` if its reader has gone, `ENOBUFS` if the node has no memory for it.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut state = self.0.state();
        if !state.has_reader || !state.has_writer {
            return Err(Errno::Pipe);
        }
        let room = CAPACITY - state.bytes.len();
        if bytes.len() > room && (room == 0 || bytes.len() <= ATOMIC) {
            return Err(Errno::Again);
        }
        let length = bytes.len().min(room);
        let needed = state.bytes.len() + length;
        if needed > state.bytes.capacity() {
            let capacity = needed.next_power_of_two().max(ATOMIC);
            // The old buffer and the new one exist together for a moment; the new one is all that stays.
            state
                .charge
                .try_resize(capacity)
                .map_err(|_| Errno::Nobufs)?;
            let more = capacity - state.bytes.len();
            state.bytes.reserve_exact(more);
        }
        state.bytes.extend(&bytes[..length]);
        Ok(length)
    }

    /// Returns the bytes that can be written, and whether the reader has gone.
    pub(super) fn writable(&self) -> (usize, bool) {
        let state = self.0.state();
        let room = CAPACITY - state.bytes.len();
        let room = if room < ATOMIC { 0 } else { room };
        (room, !state.has_reader || !state.has_writer)
    }

    /// Ends the stream.
    pub(super) fn close(&self) {
        self.0.state().has_writer = false;
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        self.close();
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::TmpLimits;
    use crate::reserve::{AppShare, NodeReserve};

    fn account(bytes: usize) -> Arc<Account> {
        Account::new(AppShare::new(NodeReserve::new(bytes)), TmpLimits::default())
    }

    #[test]
    fn bytes_come_out_in_order_and_the_end_after_them() {
        let account = account(64 << 20);
        let (reader, writer) = channel(&account);
        let mut buffer = [0; 5];
        assert_eq!(reader.read(&mut buffer, false), Err(Errno::Again));
        assert_eq!(writer.write(b"hello world"), Ok(11));
        assert_eq!(reader.read(&mut buffer, true), Ok(5));
        assert_eq!(reader.read(&mut buffer, false), Ok(5));
        assert_eq!((&buffer, reader.readable()), (b"hello", (6, false)));
        drop(writer);
        let mut rest = [0; 20];
        assert_eq!(reader.read(&mut rest, false), Ok(6));
        assert_eq!(reader.read(&mut rest, false), Ok(0));
    }

    #[test]
    fn full_channel_refuses_small_writes_whole() {
        let account = account(64 << 20);
        let (reader, writer) = channel(&account);
        assert_eq!(writer.write(&[1; CAPACITY - 10]), Ok(CAPACITY - 10));
        assert_eq!(writer.write(&[2; 11]), Err(Errno::Again));
        assert_eq!(writer.writable(), (0, false));
        assert_eq!(writer.write(&[2; ATOMIC + 1]), Ok(10));
        assert_eq!(writer.write(&[2; 1]), Err(Errno::Again));
        drop(reader);
        assert_eq!(writer.write(b"x"), Err(Errno::Pipe));
        assert!(writer.writable().1);
    }

    #[test]
    fn buffers_are_charged_until_the_channel_is_empty() {
        let account = account(64 << 20);
        let (reader, writer) = channel(&account);
        assert_eq!(account.held(), 0);
        writer.write(&[1; 40_000]).unwrap();
        assert_eq!(account.held(), 1 << 16);
        let mut buffer = vec![0; 40_000];
        assert_eq!(reader.read(&mut buffer, false), Ok(40_000));
        assert_eq!(account.held(), 0);
        let full = self::account(0);
        let many: Vec<_> = (0..100).map(|_| channel(&full)).collect();
        let refused = many
            .iter()
            .filter(|(_, writer)| writer.write(&[1; CAPACITY]) == Err(Errno::Nobufs));
        assert!(refused.count() >= 88, "the node has no more memory");
    }
}
