//! The parts of a node that all dynos of the grid use.

use corundum_abi::names::{AppName, DynoName};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;

use super::limits::GridLimits;
use crate::engine::Engine;

/// Receives the grid's log lines about apps. It is called from any thread and must not block.
pub trait GridLog: Send + Sync {
    /// Takes a line that a dyno wrote to its log.
    fn dyno_line(&self, app: &AppName, dyno: &DynoName, line: &[u8]);
    /// Takes a line of the platform about a dyno, such as `Error R14 (Memory quota exceeded)`.
    fn platform_line(&self, app: &AppName, dyno: &DynoName, line: &str);
}

/// Engine, limits, log and threads of a grid.
pub(super) struct GridContext {
    pub(super) engine: Engine,
    pub(super) limits: GridLimits,
    pub(super) log: Arc<dyn GridLog>,
    /// Runtime of dynos that wait or compute.
    pub(super) compute: Handle,
    /// Dynos that have taken over a client's connection.
    pub(super) connected: AtomicUsize,
    /// Apps that need their release, each once until it is loaded: the queue has no more entries than there are apps.
    pub(super) wanted: UnboundedSender<AppName>,
}
