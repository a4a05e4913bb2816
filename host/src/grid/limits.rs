//! Every limit of the grid, with its reason.

use std::time::Duration;

use crate::capacity;
use crate::os::TmpLimits;

/// Limits of the grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GridLimits {
    /// Dynos on the node; the engine has as many slots.
    pub dynos: u32,
    /// Requests of one app that wait for a dyno. Further requests fail at once (H11), because they would time out
    /// anyway.
    pub backlog: usize,
    /// Time that a request waits for a dyno (H20). Heroku's boot timeout.
    pub queue: Duration,
    /// Time from the whole request in the dyno to the first byte of its response (H12).
    pub first_byte: Duration,
    /// Time without a byte in either direction after that (H15).
    pub idle_exchange: Duration,
    /// Time that an idle dyno is kept. It is short because a new dyno costs only a millisecond.
    pub idle: Duration,
    /// Time that an idle dyno is kept which holds more than `idle_bytes`, or while the node has little memory to spare.
    pub idle_heavy: Duration,
    /// Bytes that an idle dyno may hold for its whole idle time: files, handles, growth and pages of its own.
    pub idle_bytes: usize,
    /// Bytes that a dyno's memory may grow by before the dyno is replaced between two requests. MRI's npm build loses
    /// 24 KB for each method in C that a `throw`, `break` or exception skips; replacement keeps memory flat.
    pub growth: usize,
    /// Requests that a dyno serves before it is replaced, which bounds slow leaks of other kinds.
    pub requests: u32,
    /// Age at which an idle dyno is replaced, as Heroku restarts dynos each day.
    pub age: Duration,
    /// Limits of a dyno's `/tmp`.
    pub tmp: TmpLimits,
    /// Connections of one app that dynos have taken over, each with a dyno of its own beside the formation.
    pub connections: u32,
    /// Time for an app to notice that the client of such a connection has gone.
    pub abandoned: Duration,
    /// One-off dynos (`run`) of one app at the same time.
    pub one_off_dynos: u32,
}

impl Default for GridLimits {
    fn default() -> Self {
        Self {
            dynos: capacity::dynos(),
            backlog: 500,
            queue: Duration::from_secs(75),
            first_byte: Duration::from_secs(30),
            idle_exchange: Duration::from_secs(55),
            idle: Duration::from_secs(60),
            idle_heavy: Duration::from_secs(3),
            idle_bytes: 24 << 20,
            growth: 48 << 20,
            requests: 50_000,
            age: Duration::from_secs(24 * 3600),
            tmp: TmpLimits::default(),
            connections: 20_000,
            abandoned: Duration::from_secs(30),
            one_off_dynos: 4,
        }
    }
}
