//! One-off dynos: commands that run once, over a stream of their own until `POST dynos` attaches to them.
//!
//! `GET /v1/apps/APP/run` with `Connection: upgrade` and `Upgrade: corundum-run/1` makes the connection such a stream
//! ([`corundum_abi::run_stream`]), whose first frame is a [`RunStart`].

pub use corundum_abi::run_stream::{PROTOCOL, RunStart};

/// Message of a request that asks for another protocol.
pub const WRONG_PROTOCOL: &str = "run: the connection must be upgraded to corundum-run/1: use a command line of the node's version, and let proxies pass the upgrade on";
