//! The cache, over real connections, with an app of a few lines behind it.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "these are tests"
)]

mod behaviour;
mod conformance;
mod floods;
mod leaks;
mod properties;
