//! Bounds of the control plane's connections, so that a client that is idle, slow or hostile locks nobody out.
//!
//! [`places`] bounds their number, [`body_deadline`] the time of a request's body, [`write_deadline`] the time that a
//! response waits for its reader.

pub(crate) mod body_deadline;
pub(crate) mod places;
pub(crate) mod write_deadline;
