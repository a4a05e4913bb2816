//! The end of a response's body: complete, or interrupted by the dyno or the client.

/// The end of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyEnd {
    /// Bytes that were sent.
    pub(crate) bytes: u64,
    /// Completion or cause of the interruption.
    pub(crate) outcome: BodyOutcome,
}

/// Completion of a body, or the cause of its interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyOutcome {
    /// The body is complete.
    Complete,
    /// The dyno ended in the middle of the body.
    DynoGone,
    /// The dyno paused for too long.
    DynoIdle,
    /// The client disconnected.
    ClientGone,
    /// The client stopped reading for too long.
    ClientIdle,
}
