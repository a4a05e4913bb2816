//! The cache of the router, tested over real connections with a fake grid.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod behaviour;
mod conformance;
mod floods;
mod leaks;
mod properties;
