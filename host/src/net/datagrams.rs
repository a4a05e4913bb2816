//! Datagrams that wait for one socket of a dyno, in the host's memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasi_common::snapshots::preview_1::types::Errno;

use super::address::EndName;
use crate::account::{Account, Charge, Holding};

/// Bytes of datagrams that wait, as the kernel's default for a socket.
const CAPACITY: usize = 208 << 10;
/// Datagrams that wait. Empty ones take memory too.
const MAX_WAITING: usize = 256;
/// Bytes of the largest datagram, as UDP's over IPv4.
pub(super) const MAX_DATAGRAM: usize = 65_507;

/// A queue of datagrams.
pub(super) struct Inbox(Mutex<InboxState>);

struct InboxState {
    waiting: VecDeque<(EndName, Vec<u8>)>,
    charge: Charge,
    is_closed: bool,
}

impl Inbox {
    /// Creates an empty queue.
    pub(super) fn new(account: &Arc<Account>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(InboxState {
            waiting: VecDeque::new(),
            charge: account.charge(Holding::Sockets),
            is_closed: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, InboxState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a datagram.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if it is too large, `EAGAIN` if the queue is full, `EPIPE` if its reader has gone, `ENOBUFS` if the node
    /// has no memory for it.
    pub(super) fn push(&self, from: EndName, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.len() > MAX_DATAGRAM {
            return Err(Errno::Msgsize);
        }
        let mut state = self.state();
        if state.is_closed {
            return Err(Errno::Pipe);
        }
        let held = state.charge.bytes() + bytes.len();
        if held > CAPACITY || state.waiting.len() >= MAX_WAITING {
            return Err(Errno::Again);
        }
        state.charge.try_resize(held).map_err(|_| Errno::Nobufs)?;
        state.waiting.push_back((from, bytes.to_vec()));
        Ok(())
    }

    /// Takes the first datagram; the part that exceeds the buffer is lost. Returns its bytes in the buffer and its sender.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if there is none.
    pub(super) fn pop(&self, buffer: &mut [u8], peek: bool) -> Result<(usize, EndName), Errno> {
        let mut state = self.state();
        let (from, bytes) = state.waiting.front().ok_or(Errno::Again)?;
        let (from, length) = (*from, bytes.len().min(buffer.len()));
        buffer[..length].copy_from_slice(&bytes[..length]);
        if !peek && let Some((_, bytes)) = state.waiting.pop_front() {
            let held = state.charge.bytes() - bytes.len();
            let _ = state.charge.try_resize(held);
        }
        Ok((length, from))
    }

    /// Returns the bytes of the first datagram.
    pub(super) fn first(&self) -> Option<usize> {
        self.state().waiting.front().map(|(_, bytes)| bytes.len())
    }

    /// Returns whether there is room for a datagram, or its reader has gone.
    pub(super) fn accepts(&self) -> bool {
        let state = self.state();
        state.is_closed || (state.charge.bytes() < CAPACITY && state.waiting.len() < MAX_WAITING)
    }

    /// Returns whether the reader has gone.
    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Discards all datagrams, and those that come.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.waiting = VecDeque::new();
        let _ = state.charge.try_resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::TmpLimits;
    use crate::reserve::{AppShare, NodeReserve};

    #[test]
    fn queue_is_bounded_and_charged() {
        let share = AppShare::new(NodeReserve::new(64 << 20));
        let account = Account::new(share, TmpLimits::default());
        let inbox = Inbox::new(&account);
        let push = |bytes: &[u8]| inbox.push(EndName::Unnamed, bytes);
        assert_eq!(push(&[0; MAX_DATAGRAM + 1]), Err(Errno::Msgsize));
        assert_eq!((0..4).filter(|_| push(&[7; 60_000]).is_ok()).count(), 3);
        assert_eq!(
            (push(&[7; 60_000]), account.held()),
            (Err(Errno::Again), 180_000)
        );
        let mut buffer = [0; 10];
        assert_eq!(inbox.pop(&mut buffer, true), Ok((10, EndName::Unnamed)));
        assert_eq!(inbox.first(), Some(60_000));
        while inbox.pop(&mut buffer, false).is_ok() {}
        assert_eq!(account.held(), 0);
        assert_eq!((0..1000).filter(|_| push(&[]).is_ok()).count(), MAX_WAITING);
        inbox.close();
        assert_eq!(push(b"x"), Err(Errno::Pipe));
    }
}
