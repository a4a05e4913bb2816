//! The host's side of a running guest: the data that host functions find in the engine's store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use corundum_abi::EXCHANGE_DESCRIPTOR;
use serde::{Deserialize, Serialize};
use wasi_common::WasiCtx;
use wasmtime::Memory;

use crate::account::OutOfReserve;
use crate::console::RunSession;
use crate::extensions::state::DynoExtensions;
use crate::fibers::FiberStacks;
use crate::log::LineSplitter;
use crate::memory::MemoryQuota;
use crate::net::DynoNetwork;
use crate::os;
use crate::private_pages::PrivatePages;
use crate::stdio::{Input, Output};
use crate::tools::DynoTools;

/// Status that a guest passed to `proc_exit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("exited with status {0}")]
pub struct Exit(pub i32);

/// Data of one dyno for the host functions that its guest calls.
pub(crate) struct GuestState {
    pub(crate) wasi: WasiCtx,
    /// Descriptors of files and directories.
    pub(crate) files: os::Descriptors,
    /// The guest's memory; `None` until the image is instantiated.
    pub(crate) memory: Option<Memory>,
    /// The sockets among the descriptors.
    pub(crate) network: DynoNetwork,
    /// The runner of its commands, in a build.
    pub(crate) tools: DynoTools,
    /// Its native extensions.
    pub(crate) extensions: DynoExtensions,
    /// The request.
    pub(crate) input: Input,
    /// The response.
    pub(crate) output: Output,
    /// Descriptors 1 and 2 without a session.
    pub(crate) log: LineSplitter,
    /// Descriptors 0 to 2 of a one-off command.
    pub(crate) session: Option<Arc<RunSession>>,
    /// Requests and responses are on the descriptors 0 and 1.
    pub(crate) exchanges_on_standard_streams: bool,
    pub(crate) quota: MemoryQuota,
    /// Pages of the image that the dyno has a copy of.
    pub(crate) pages: PrivatePages,
    pub(crate) cpu: Arc<CpuTime>,
    /// The native stacks of its fibers.
    pub(crate) stacks: FiberStacks,
    /// The byte that tells the guest about an ended time slice.
    pub(crate) interrupt: InterruptFlag,
    /// Value of the engine's clock at which the current time slice ends.
    pub(crate) slice_ends: u32,
}

impl GuestState {
    /// Returns the standard stream, 0 to 2, that a descriptor stands for: itself, unless the guest has replaced it, or the
    /// one that it is a copy of.
    pub(crate) fn standard_stream(&self, fd: u32) -> Option<u32> {
        self.files
            .standard_stream(fd)
            .filter(|_| !self.network.has(fd))
    }

    /// Returns whether requests are what is read from a descriptor.
    pub(crate) fn is_request(&self, fd: u32) -> bool {
        fd == EXCHANGE_DESCRIPTOR
            || fd == 0 && self.exchanges_on_standard_streams && self.session.is_none()
    }

    /// Returns whether the response is what is written to a descriptor.
    pub(crate) fn is_response(&self, fd: u32) -> bool {
        fd == EXCHANGE_DESCRIPTOR
            || fd == 1 && self.exchanges_on_standard_streams && self.session.is_none()
    }

    /// Returns whether the log is what is written to a descriptor.
    pub(crate) fn is_log(&self, fd: u32) -> bool {
        self.session.is_none() && matches!(self.standard_stream(fd), Some(1 | 2))
    }

    /// Returns whether a descriptor is the standard input of a dyno that has none.
    pub(crate) fn is_empty_input(&self, fd: u32) -> bool {
        self.session.is_none() && self.standard_stream(fd) == Some(0)
    }

    /// Charges the pages that the guest has copied and those of its fibers' stacks; `cpu` is its processor time.
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
        let settled = settled.and_then(|()| self.stacks.settle());
        if settled.is_err() {
            self.quota.exceed_reserve();
        }
        settled
    }
}

/// Location of the byte in a guest's memory whose lowest bit the host sets at the end of a time slice
/// ([`corundum_abi::exports::INTERRUPT`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct InterruptFlag {
    /// Address of the byte, or of a pointer if `offset` is not 0; 0 if the guest has no such byte.
    pub(crate) address: u32,
    /// Offset of the byte from the target of the pointer ([`corundum_abi::exports::INTERRUPT_OFFSET`]).
    pub(crate) offset: u32,
}

impl InterruptFlag {
    /// Sets the flag in `memory`. A guest whose pointer is invalid gets none.
    pub(crate) fn set(self, memory: &mut [u8]) {
        let address = self.address as usize;
        let flag = match self.offset {
            _ if address == 0 => return,
            0 => Some(address),
            offset => memory
                .get(address..)
                .and_then(|bytes| bytes.first_chunk())
                .and_then(|pointer| {
                    (u32::from_le_bytes(*pointer) as usize).checked_add(offset as usize)
                }),
        };
        if let Some(flag) = flag.and_then(|flag| memory.get_mut(flag)) {
            *flag |= 1;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupt_flag_is_set_directly_or_through_a_pointer() {
        let mut memory = vec![0; 64];
        memory[8..12].copy_from_slice(&40u32.to_le_bytes());
        let flag = |address, offset| InterruptFlag { address, offset };
        flag(5, 0).set(&mut memory);
        flag(8, 3).set(&mut memory);
        assert_eq!((memory[5], memory[43]), (1, 1));
    }

    #[test]
    fn invalid_interrupt_flag_changes_nothing() {
        let mut memory = vec![0; 16];
        memory[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let before = memory.clone();
        for (address, offset) in [
            (0, 0),
            (0, 4),
            (16, 0),
            (u32::MAX, 0),
            (14, 1),
            (8, 1),
            (8, u32::MAX),
        ] {
            InterruptFlag { address, offset }.set(&mut memory);
        }
        assert_eq!(memory, before);
    }
}
