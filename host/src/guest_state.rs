//! The host's side of a running guest: the data that host functions find in the engine's store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasi_common::WasiCtx;
use wasmtime::Memory;

use crate::account::OutOfReserve;
use crate::log::LineSplitter;
use crate::memory::MemoryQuota;
use crate::net::DynoNetwork;
use crate::os;
use crate::private_pages::PrivatePages;
use crate::stdio::{Input, Output};

/// Status that a guest passed to `proc_exit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("exited with status {0}")]
pub struct Exit(pub i32);

/// Data of one dyno for the host functions that its guest calls.
pub(crate) struct GuestState {
    pub(crate) wasi: WasiCtx,
    /// The guest's memory; `None` until the image is instantiated.
    pub(crate) memory: Option<Memory>,
    /// The sockets among the descriptors.
    pub(crate) network: DynoNetwork,
    /// Descriptor 0.
    pub(crate) input: Input,
    /// Descriptor 1.
    pub(crate) output: Output,
    /// Descriptor 2.
    pub(crate) log: LineSplitter,
    pub(crate) quota: MemoryQuota,
    /// Pages of the image that the dyno has a copy of.
    pub(crate) pages: PrivatePages,
    pub(crate) cpu: Arc<CpuTime>,
    /// Address of the byte that tells the guest about an ended time slice
    /// ([`corundum_abi::exports::INTERRUPT`]); 0 if the guest has none.
    pub(crate) interrupt: u32,
    /// Value of the engine's clock at which the current time slice ends.
    pub(crate) slice_ends: u32,
}

impl GuestState {
    /// Charges the pages that the guest has copied; `cpu` is its processor time.
    ///
    /// # Errors
    ///
    /// Returns [`OutOfReserve`] if the node has no memory for them; the dyno must end then.
    pub(crate) fn settle_pages(
        &mut self,
        memory: &[u8],
        cpu: Duration,
    ) -> Result<(), OutOfReserve> {
        let settled = self.pages.settle(memory, cpu);
        if settled.is_err() {
            self.quota.exceed_reserve();
        }
        settled
    }
}

/// Processor time of one dyno.
///
/// The dyno's task adds to it before and after each poll; the guest reads it while it runs.
#[derive(Default)]
pub(crate) struct CpuTime {
    /// Nanoseconds of finished polls.
    total: AtomicU64,
    /// Monotonic time at which the current poll began; 0 between polls.
    since: AtomicU64,
}

impl CpuTime {
    /// Runs `poll` and adds the time that it takes.
    pub(crate) fn measure<R>(&self, poll: impl FnOnce() -> R) -> R {
        let start = os::monotonic_now();
        self.since.store(start, Ordering::Relaxed);
        let result = poll();
        self.since.store(0, Ordering::Relaxed);
        let elapsed = os::monotonic_now().saturating_sub(start);
        self.total.fetch_add(elapsed, Ordering::Relaxed);
        result
    }

    /// Returns the time of finished polls.
    pub(crate) fn finished(&self) -> Duration {
        Duration::from_nanos(self.total.load(Ordering::Relaxed))
    }

    /// Returns the nanoseconds until now, the current poll included.
    pub(crate) fn nanoseconds(&self) -> u64 {
        let since = self.since.load(Ordering::Relaxed);
        let current = match since {
            0 => 0,
            since => os::monotonic_now().saturating_sub(since),
        };
        self.total.load(Ordering::Relaxed) + current
    }
}
