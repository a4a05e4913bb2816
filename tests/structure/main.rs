//! Rules about the source tree itself.
#![allow(clippy::unwrap_used, reason = "these are tests")]
mod layers;
