//! The ways in which a request remains unanswered.

use std::time::Duration;

/// Failure to answer a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// The grid does not know the app.
    #[error("no such app")]
    NoSuchApp,
    /// The app has no release yet.
    #[error("the app has no release")]
    Blank,
    /// The app is scaled to no web dynos.
    #[error("the app is scaled to no web dynos")]
    NoProcesses,
    /// The app, or the node, has as many connections that dynos have taken over as it may.
    #[error("too many connections are open")]
    Connections,
    /// The queue of the app is full.
    #[error("too many requests wait for a dyno")]
    Backlog,
    /// No dyno became free in time.
    #[error("no dyno became free in time")]
    QueueTimeout,
    /// A dyno did not start.
    #[error("cannot start a dyno: {0}")]
    Crashed(String),
    /// The app's dynos only crash, and the grid starts none for this long.
    #[error("all dynos crash: the next attempt is in {} s", .0.as_secs())]
    Crashing(Duration),
    /// The dyno ended before it had answered.
    #[error("the dyno ended without a response: {0}")]
    NoResponse(String),
    /// The dyno took too long for the first byte of its response, and was ended.
    #[error("the dyno did not answer in time")]
    Timeout,
    /// The head of the response exceeds [`MAX_HEAD`](corundum_abi::cgi::MAX_HEAD) bytes.
    #[error("the response's head is too large")]
    HeadTooLarge,
    /// The dyno wrote something other than a response.
    #[error("{0}")]
    Malformed(String),
}
