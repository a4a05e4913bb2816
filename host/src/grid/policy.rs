//! Every limit of the grid, with its reason.

use std::time::Duration;

pub use corundum_abi::app_options::Isolation;

use crate::capacity;
use crate::os::TmpLimits;

/// The grid's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Dynos on the node; the engine has as many slots.
    pub dynos: u32,
    /// Requests of one app that wait for a dyno; beyond it they fail at once (H11), since they would time out anyway.
    pub backlog: usize,
    /// How long a request waits for a dyno (H20). Heroku's boot timeout.
    pub queue: Duration,
    /// From the whole request in the dyno to the first byte of its response (H12).
    pub first_byte: Duration,
    /// Without a byte in either direction afterwards (H15).
    pub idle_exchange: Duration,
    /// How long an idle dyno is kept. A new one costs a millisecond, so not long.
    pub idle: Duration,
    /// Bytes that a dyno's memory may grow by before it is replaced between two requests. MRI's npm build loses
    /// 24 KB for each method in C that a `throw`, `break` or exception skips; replacement is what keeps memory flat.
    pub growth: usize,
    /// Requests that a dyno serves before it is replaced, against slow leaks of other kinds.
    pub requests: u32,
    /// Age at which an idle dyno is replaced, as Heroku restarts dynos each day.
    pub age: Duration,
    /// What a dyno may keep in `/tmp`.
    pub tmp: TmpLimits,
    /// One-off dynos (`run`) of an app at once.
    pub runs: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            dynos: capacity::dynos(),
            backlog: 500,
            queue: Duration::from_secs(75),
            first_byte: Duration::from_secs(30),
            idle_exchange: Duration::from_secs(55),
            idle: Duration::from_secs(60),
            growth: 48 << 20,
            requests: 50_000,
            age: Duration::from_secs(24 * 3600),
            tmp: TmpLimits::default(),
            runs: 4,
        }
    }
}
