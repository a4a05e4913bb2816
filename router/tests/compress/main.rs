//! Compression, over real connections, with an app of a few lines behind it.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "these are tests"
)]

mod answers;
mod conditions;
mod kept;
mod streams;
