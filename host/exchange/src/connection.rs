//! A client's connection that a dyno takes over, as for a WebSocket.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A connection on its way to a dyno: the dyno's end of a pair of sockets whose other end the router has.
#[derive(Debug)]
pub struct ClientConnection {
    /// The dyno's end.
    pub socket: UnixStream,
    /// The state that both sides watch.
    pub link: Arc<ConnectionLink>,
}

/// The state of a connection that a dyno may have taken over.
#[derive(Debug, Default)]
pub struct ConnectionLink {
    client_gone: AtomicBool,
    is_retired: AtomicBool,
    retired: Notify,
}

impl ConnectionLink {
    /// Records that the router has closed its end.
    pub fn set_client_gone(&self) {
        self.client_gone.store(true, Ordering::Relaxed);
    }

    /// Returns whether the router has closed its end.
    pub fn is_client_gone(&self) -> bool {
        self.client_gone.load(Ordering::Relaxed)
    }

    /// Asks the router to close the connection, because another release takes the place of the dyno's.
    pub fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
        self.retired.notify_waiters();
    }

    /// Waits until the connection is to be closed.
    pub async fn retired(&self) {
        let mut notified = std::pin::pin!(self.retired.notified());
        notified.as_mut().enable();
        if !self.is_retired.load(Ordering::Relaxed) {
            notified.await;
        }
    }
}
