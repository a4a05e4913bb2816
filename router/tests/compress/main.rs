//! Compression in the router, tested over real connections with a fake grid.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod conditions;
mod responses;
mod stored;
mod streams;
