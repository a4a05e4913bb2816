//! The WebAssembly engine: its settings, its limits, and the thread that ends time slices.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use corundum_exchange::BoundedCounter;
use corundum_pack::preemption;
use wasmtime::{
    Collector, Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

use crate::account::Account;
use crate::capacity;
use crate::fibers::StackBudget;
use crate::loaded_image::LoadedImage;
use crate::os::TmpLimits;
use crate::preemption::SliceClock;
use crate::reserve::{AppShare, NodeReserve};
use crate::slots::{self, MappingBudget};

/// Kernel mappings of a loaded image, and one of its app's slug.
pub(crate) const IMAGE_MAPPINGS: usize = 4;
/// Bytes of address space for one dyno's memory. With all of a 32-bit memory reserved and a guard behind it, compiled
/// code needs no bounds checks: Ruby runs 1.6 to 2.2 times faster than with 1 GiB.
const MEMORY_RESERVATION: u64 = 4 << 30;
/// Bytes of the guard behind it. Constant offsets up to this size need no check either.
const MEMORY_GUARD: u64 = 32 << 20;
/// Bytes that an image may span. The engine maps an image below this size and copies a larger one at each
/// instantiation (12 ms). MRI 4.0 spans 322 MB.
const DENSE_IMAGE: u64 = 1 << 30;
/// Maximum number of instances in one dyno: its image, the shim of fibers, the pack's modules and native extensions. The pool
/// only counts them.
const INSTANCES_PER_DYNO: u32 = 7 + 200;
/// Maximum number of tables in one dyno: two of the pack and the shim's.
const TABLES_PER_DYNO: u32 = 3;
/// Maximum number of entries in one table; MRI has about 12,000 indirect functions.
const TABLE_ELEMENTS: usize = 40_000;
/// Maximum bytes of the engine's bookkeeping for one instance.
const INSTANCE_SIZE: usize = 2 << 20;

/// Bytes in unused slots that are worth releasing.
const WORTH_RELEASING: usize = 16 << 20;

/// The limit that keeps another image from being loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ImageLimit {
    /// Open files.
    #[error(
        "{0} images are loaded, which is all that the limit of open files allows: raise it (ulimit -Hn, LimitNOFILE=)"
    )]
    Files(usize),
    /// Kernel mappings.
    #[error("the kernel mappings are used up: raise vm.max_map_count")]
    Mappings,
}

/// The source of dynos' memories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// Slots that are reserved at start and reused, for a node.
    Pooled {
        /// Maximum number of live dynos. Each takes twice 4 GiB of address space (of 128 TiB) and some kernel mappings;
        /// see [`crate::capacity`].
        dynos: u32,
    },
    /// One memory at a time, for the boot of a release in a short-lived process.
    OnDemand,
}

/// Every limit and setting of the engine that may differ between processes.
///
/// Settings that change compiled code are constants instead, so that a node can run the code that a compile process
/// produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Source of dynos' memories.
    pub allocation: Allocation,
    /// Bytes that a dyno's memory may grow to, its image included. Heroku's smallest dyno has 512 MB.
    pub memory_limit: usize,
    /// Bytes that all dynos together may take, beside the images that they share.
    pub reserve: usize,
    /// Kernel mappings that images and memories of dynos may take.
    pub mappings: usize,
    /// Images that may be loaded at once. Each keeps its file open.
    pub images: usize,
    /// Sockets of the kernel that all dynos together may have. Each is an open file of the process.
    pub sockets: usize,
    /// Bytes of a slot's memory that stay resident for its next dyno, which then takes no page faults on them. A dyno
    /// of a small app writes to 0.5 to 1 MiB; the rest is returned to the kernel.
    pub memory_keep_resident: usize,
    /// Bytes of native stack for WebAssembly frames. MRI's C functions recurse, for example to inspect nested arrays.
    pub wasm_stack: usize,
    /// Bytes of the whole stack of a call, host functions included. Must exceed `wasm_stack`.
    pub async_stack: usize,
    /// Native stacks that fibers of all dynos may have together. Each takes two kernel mappings.
    pub fiber_stacks: usize,
    /// True if a dyno may load a native extension that has not been compiled yet. Compiling takes up to a minute and much
    /// memory, so that only builds do it.
    pub compiles_extensions: bool,
    /// Time that a dyno may compute before others get their turn. It is also the resolution of its timeouts.
    pub slice: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        let dynos = capacity::dynos();
        Self {
            allocation: Allocation::Pooled { dynos },
            mappings: capacity::mappings(dynos),
            images: usize::MAX,
            sockets: 1024,
            memory_limit: 512 << 20,
            reserve: capacity::reserve_bytes(),
            memory_keep_resident: 2 << 20,
            wasm_stack: 16 << 20,
            async_stack: 18 << 20,
            fiber_stacks: capacity::fiber_stacks(),
            compiles_extensions: false,
            slice: Duration::from_millis(5),
        }
    }
}

impl EngineConfig {
    /// Returns the settings for booting one image at a time.
    pub fn on_demand() -> Self {
        Self {
            allocation: Allocation::OnDemand,
            reserve: usize::MAX,
            mappings: usize::MAX,
            // A build's process has few descriptors.
            sockets: 64,
            compiles_extensions: true,
            ..Self::default()
        }
    }

    fn wasmtime(&self) -> Config {
        let mut config = Config::new();
        config
            .cranelift_opt_level(OptLevel::Speed)
            // The clock of time slices is a memory that all dynos share; only inserted code can access it.
            .wasm_threads(true)
            .shared_memory(true)
            // MRI's own build unwinds with exceptions. They live in a heap of the engine, which a dyno gets with its
            // first exception. The engine's collectors cannot trace suspended continuations (fixed in wasmtime 50), so
            // nothing is collected: the heap counts as the dyno's memory, and the grid replaces a dyno that has filled
            // much of it.
            .wasm_exceptions(true)
            .collector(Collector::Null)
            .wasm_function_references(true)
            // Only the shim of fibers may use it; the host validates all other modules without it.
            .wasm_stack_switching(true)
            .memory_reservation(MEMORY_RESERVATION)
            .memory_guard_size(MEMORY_GUARD)
            .memory_guaranteed_dense_image_size(DENSE_IMAGE)
            .max_wasm_stack(self.wasm_stack)
            .async_stack_size(self.async_stack)
            // A deep recursion touches all of a stack. Without this, the engine would keep its pages for good.
            .async_stack_zeroing(true)
            // A trap's message names the functions. An address map would add lines, but is not worth its size.
            .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20))
            .generate_address_map(false);
        if let Allocation::Pooled { dynos } = self.allocation {
            let mut pool = PoolingAllocationConfig::new();
            // Each dyno has its own memory, and one for the exceptions that it has thrown.
            pool.total_memories(dynos.saturating_mul(2))
                .total_gc_heaps(dynos)
                .total_tables(dynos.saturating_mul(TABLES_PER_DYNO))
                .total_stacks(dynos)
                .total_core_instances(dynos.saturating_mul(INSTANCES_PER_DYNO))
                .max_core_instance_size(INSTANCE_SIZE)
                .max_memory_size(MEMORY_RESERVATION as usize)
                .table_elements(TABLE_ELEMENTS)
                .linear_memory_keep_resident(self.memory_keep_resident)
                .table_keep_resident(TABLE_ELEMENTS * 16)
                .async_stack_keep_resident(16 << 10)
                .max_unused_warm_slots(256)
                .pagemap_scan(Enabled::Auto);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
        config
    }
}

/// Failure to create an engine: the address space is too small, or a limit is out of range.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the WebAssembly engine with {limits}: {source}")]
pub struct EngineError {
    limits: String,
    source: wasmtime::Error,
}

/// A running engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

struct EngineInner {
    wasmtime: wasmtime::Engine,
    config: EngineConfig,
    ticker: Arc<Ticker>,
    clock: SliceClock,
    reserve: Arc<NodeReserve>,
    mappings: Arc<MappingBudget>,
    images: Arc<BoundedCounter>,
    stack_budget: StackBudget,
}

impl Engine {
    /// Starts an engine and the thread that ends time slices.
    ///
    /// # Errors
    ///
    /// Returns an [`EngineError`] if the address space cannot be reserved.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let failed = |source| EngineError {
            limits: format!("{:?}", config.allocation),
            source,
        };
        let wasmtime = wasmtime::Engine::new(&config.wasmtime()).map_err(failed)?;
        let ticker = Arc::new(Ticker::default());
        let clock = SliceClock::new(&wasmtime).map_err(failed)?;
        ticker.clone().start(clock.clone(), config.slice);
        let reserve = NodeReserve::with_sockets(config.reserve, config.sockets);
        let mappings = MappingBudget::new(config.mappings);
        let images = BoundedCounter::new(config.images);
        let stack_budget =
            StackBudget::new(config.fiber_stacks, config.async_stack, mappings.clone());
        Ok(Self {
            inner: Arc::new(EngineInner {
                wasmtime,
                config,
                ticker,
                clock,
                reserve,
                mappings,
                images,
                stack_budget,
            }),
        })
    }

    /// Returns the engine's settings.
    pub fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    /// Returns the node's reserve of memory.
    pub(crate) fn reserve(&self) -> &Arc<NodeReserve> {
        &self.inner.reserve
    }

    /// Returns the kernel mappings that dynos and images may take.
    pub(crate) fn mappings(&self) -> &Arc<MappingBudget> {
        &self.inner.mappings
    }

    /// Counts one more loaded image with its open file and its mappings. Without room, this releases slots that no dyno
    /// uses.
    pub(crate) fn reserve_image(&self) -> Result<LoadedImage, ImageLimit> {
        let file = self.inner.images.try_reserve(1);
        let file = file.ok_or(ImageLimit::Files(self.inner.images.limit()))?;
        let mappings = self.inner.mappings.mappings();
        let reserved = mappings.try_reserve(IMAGE_MAPPINGS).or_else(|| {
            self.release_unused_slots();
            mappings.try_reserve(IMAGE_MAPPINGS)
        });
        Ok(LoadedImage::new(
            file,
            reserved.ok_or(ImageLimit::Mappings)?,
        ))
    }

    /// Releases the kernel mappings and pages of slots that no dyno uses. It blocks for up to a second.
    pub(crate) fn release_unused_slots(&self) {
        slots::release_unused(&self.inner.wasmtime, &self.inner.mappings);
    }

    /// Returns whether slots that no dyno uses should be released, because the node runs short of what they keep.
    pub(crate) fn should_release_slots(&self) -> bool {
        let Self { inner } = self;
        let kept = slots::unused_bytes(&inner.wasmtime);
        let bytes = inner.reserve.bytes();
        let is_full = bytes.in_use().saturating_add(kept) > bytes.limit() / 4 * 3;
        (kept > WORTH_RELEASING && is_full)
            || (inner.mappings.is_scarce() && inner.mappings.unused_slots() > 0)
    }

    /// Returns the account of one dyno that belongs to no app of a grid.
    pub fn account(&self, tmp: TmpLimits) -> Arc<Account> {
        Account::new(AppShare::new(self.inner.reserve.clone()), tmp)
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.wasmtime
    }

    /// Returns the native stacks that fibers of all dynos may have together.
    pub(crate) fn stack_budget(&self) -> &StackBudget {
        &self.inner.stack_budget
    }

    /// Returns the clock of time slices.
    pub(crate) fn clock(&self) -> &SliceClock {
        &self.inner.clock
    }

    /// Announces that guest code runs until the returned guard is dropped. The clock stands still while none does.
    pub(crate) fn enter_guest(&self) -> ActiveGuest<'_> {
        self.inner.ticker.enter();
        ActiveGuest {
            ticker: &self.inner.ticker,
        }
    }

    /// Returns a key of everything that compiled code depends on (engine version, settings, processor) as 16
    /// hexadecimal digits. Compiled files are named by it.
    pub fn compatibility_key(&self) -> String {
        use std::hash::{Hash, Hasher};
        struct Blake3Hasher(blake3::Hasher);
        impl Hasher for Blake3Hasher {
            fn finish(&self) -> u64 {
                0
            }
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }
        }
        let mut hasher = Blake3Hasher(blake3::Hasher::new());
        self.inner
            .wasmtime
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        preemption::REVISION.hash(&mut hasher);
        hasher.0.finalize().to_hex()[..16].to_owned()
    }
}

impl Drop for EngineInner {
    fn drop(&mut self) {
        self.ticker.stop();
    }
}

/// A thread that advances the clock at each slice while guest code runs, and sleeps while none does.
#[derive(Default)]
struct Ticker {
    running: AtomicUsize,
    state: Mutex<TickerState>,
    wake: Condvar,
}

#[derive(Default)]
struct TickerState {
    asleep: bool,
    stopped: bool,
}

impl Ticker {
    fn enter(&self) {
        if self.running.fetch_add(1, Ordering::SeqCst) == 0 {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.asleep {
                state.asleep = false;
                self.wake.notify_one();
            }
        }
    }

    fn stop(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stopped = true;
        self.wake.notify_one();
    }

    fn start(self: Arc<Self>, clock: SliceClock, slice: Duration) {
        // Without the thread, dynos have no time slices; the grid's and the router's own timeouts still hold.
        let _ = std::thread::Builder::new()
            .name("clock".into())
            .spawn(move || {
                let mut idle = 0;
                loop {
                    let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    // Staying awake during short gaps saves a wake-up for each request of a busy node.
                    idle = if self.running.load(Ordering::SeqCst) == 0 {
                        idle + 1
                    } else {
                        0
                    };
                    if idle > 20 {
                        state.asleep = true;
                        while state.asleep
                            && !state.stopped
                            && self.running.load(Ordering::SeqCst) == 0
                        {
                            state = self
                                .wake
                                .wait(state)
                                .unwrap_or_else(PoisonError::into_inner);
                        }
                        state.asleep = false;
                        idle = 0;
                    }
                    if state.stopped {
                        return;
                    }
                    drop(state);
                    std::thread::sleep(slice);
                    clock.advance();
                }
            });
    }
}

/// Guest code runs while this exists.
pub(crate) struct ActiveGuest<'a> {
    ticker: &'a Ticker,
}

impl Drop for ActiveGuest<'_> {
    fn drop(&mut self) {
        self.ticker.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooled_and_on_demand_engines_share_compiled_code() {
        let node = EngineConfig {
            allocation: Allocation::Pooled { dynos: 2 },
            ..EngineConfig::default()
        };
        let node = Engine::new(node).unwrap();
        let compile = Engine::new(EngineConfig::on_demand()).unwrap();
        assert_eq!(node.compatibility_key(), compile.compatibility_key());
        assert_eq!(node.compatibility_key().len(), 16);
    }
}
