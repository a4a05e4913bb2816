//! The cost of a request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Processor time and memory that a request took.
///
/// The host records them when the dyno has served the request, which may be after the first bytes of a streamed
/// response; both are 0 until then. They are final when the body has ended.
#[derive(Debug, Default)]
pub struct RequestUsage {
    cpu: AtomicU64,
    memory: AtomicU64,
}

impl RequestUsage {
    /// Records `cpu`, the time that the dyno computed, and `memory`, the bytes of its memory after the request.
    pub fn record(&self, cpu: Duration, memory: u64) {
        let cpu = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        self.cpu.store(cpu, Ordering::Relaxed);
        self.memory.store(memory, Ordering::Relaxed);
    }

    /// Returns the time that the dyno computed for the request.
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu.load(Ordering::Relaxed))
    }

    /// Returns the bytes of the dyno's memory after the request, its image included.
    pub fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }
}
