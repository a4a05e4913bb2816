//! One-off dynos: commands that run once, over a stream of their own or without a client.
//!
//! `GET /v1/apps/APP/run` with `Connection: upgrade` and `Upgrade: corundum-run/1` makes the connection such a stream
//! ([`corundum_abi::run_stream`]), whose first frame is a [`RunStart`].

use std::collections::BTreeMap;

use corundum_abi::dyno_size::DynoSize;
pub use corundum_abi::run_stream::{PROTOCOL, RunStart};
use serde::{Deserialize, Serialize};

/// The command of a one-off dyno without a client: `POST dynos`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachedRun {
    /// The command line.
    pub command: String,
    /// Variables in addition to the app's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The size of the dyno.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<DynoSize>,
    /// True for a client that would attach to the dyno, which no node offers.
    #[serde(default)]
    pub attach: bool,
}

/// Message of a request that asks for another protocol.
pub const WRONG_PROTOCOL: &str = "run: the connection must be upgraded to corundum-run/1: use a command line of the node's version, and let proxies pass the upgrade on";
