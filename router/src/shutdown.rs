//! The end of a listener.

use tokio::sync::watch;

/// Phase of a listener's shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum ShutdownPhase {
    /// Connections are accepted and kept open.
    Serving,
    /// The listener accepts no more connections. Each HTTP/1 connection closes after its next response, which says so;
    /// each HTTP/2 connection gets a GOAWAY at once (RFC 9113 section 6.8).
    Closing,
    /// Connections without a request in flight are closed.
    Ending,
}

/// Waits until the shutdown has reached `phase`.
pub(crate) async fn reached(stop: &mut watch::Receiver<ShutdownPhase>, phase: ShutdownPhase) {
    // A dropped sender means that the process ends; no later phase will come.
    let _ = stop.wait_for(|now| *now >= phase).await;
}
