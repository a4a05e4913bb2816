//! The engine: what compiled code assumes, and how much of everything a node holds ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use corundum_pack::preemption;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::capacity;
use crate::memory::{self, Quota, Reserve};
use crate::slices::Clock;

/// Address space of one dyno's memory. With all of a 32-bit memory reserved and a guard behind it, compiled code
/// needs no bounds checks: Ruby runs 1.6 to 2.2 times faster than with 1 GiB.
const MEMORY_RESERVATION: u64 = 4 << 30;
/// Guard behind it: constant offsets up to here need no check either.
const MEMORY_GUARD: u64 = 32 << 20;
/// An image's span must be below this, or every instantiation copies it (12 ms) instead of mapping it. MRI 4.0 spans
/// 322 MB.
const DENSE_IMAGE: u64 = 1 << 30;
/// Instances that make one dyno, at most: its image and the pack's modules.
const INSTANCES_PER_DYNO: u32 = 6;
/// Entries of one table; MRI has about 12,000 indirect functions.
const TABLE_ELEMENTS: usize = 40_000;
/// A module's instance bookkeeping, at most.
const INSTANCE_SIZE: usize = 2 << 20;

/// Where dynos' memories come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// Slots for this many dynos, reserved at start and reused: for a node.
    Pooled {
        /// Live dynos at most. Each takes twice 4 GiB of address space (of 128 TiB) and some kernel mappings; see
        /// [`crate::capacity`].
        dynos: u32,
    },
    /// One at a time: for the boot of a release, which runs in a short-lived process.
    OnDemand,
}

/// Every limit and setting of the engine. What changes compiled code is not here: all engines of a version agree on
/// it, so that a node runs what the compile process made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// See [`Allocation`].
    pub allocation: Allocation,
    /// Bytes a dyno's memory may grow to (Heroku's smallest dyno: 512 MB). It includes the image.
    pub memory_limit: usize,
    /// Bytes that all dynos together may grow by beyond their images and some megabytes each.
    pub growth_reserve: usize,
    /// Bytes of a slot's memory that stay resident for its next dyno, which then takes no page faults on them. What a
    /// dyno of a small app dirties is 0.5 to 1 MiB; more than that is given back to the kernel.
    pub memory_keep_resident: usize,
    /// Bytes of native stack for WebAssembly frames. MRI's C functions recurse, for example to inspect nested arrays.
    pub wasm_stack: usize,
    /// Bytes of the whole stack of a call, host functions included; more than `wasm_stack`.
    pub async_stack: usize,
    /// How long a dyno may compute before others get their turn, and the grain of its timeouts.
    pub slice: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            allocation: Allocation::Pooled {
                dynos: capacity::dynos(),
            },
            memory_limit: 512 << 20,
            growth_reserve: memory::half_of_the_machine(),
            memory_keep_resident: 2 << 20,
            wasm_stack: 16 << 20,
            async_stack: 18 << 20,
            slice: Duration::from_millis(5),
        }
    }
}

impl EngineConfig {
    /// For booting one image at a time.
    pub fn on_demand() -> Self {
        Self {
            allocation: Allocation::OnDemand,
            growth_reserve: usize::MAX,
            ..Self::default()
        }
    }

    fn wasmtime(&self) -> Config {
        let mut config = Config::new();
        config
            .cranelift_opt_level(OptLevel::Speed)
            // The clock of time slices is a memory that all dynos share; no code of theirs can name it.
            .wasm_threads(true)
            .shared_memory(true)
            // How MRI's own build unwinds. An exception is an object of the engine's collector, whose heap a dyno gets with
            // its first one.
            .wasm_exceptions(true)
            .wasm_function_references(true)
            .memory_reservation(MEMORY_RESERVATION)
            .memory_guard_size(MEMORY_GUARD)
            .memory_guaranteed_dense_image_size(DENSE_IMAGE)
            .max_wasm_stack(self.wasm_stack)
            .async_stack_size(self.async_stack)
            // A trap's message names the function; the file's debug sections are not worth their size.
            .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20))
            .generate_address_map(false);
        if let Allocation::Pooled { dynos } = self.allocation {
            let mut pool = PoolingAllocationConfig::new();
            // A dyno's own, and that of the exceptions it has thrown.
            pool.total_memories(dynos.saturating_mul(2))
                .total_gc_heaps(dynos)
                .total_tables(dynos.saturating_mul(2))
                .total_stacks(dynos)
                .total_core_instances(dynos.saturating_mul(INSTANCES_PER_DYNO))
                .max_core_instance_size(INSTANCE_SIZE)
                .max_memory_size(self.memory_limit)
                .table_elements(TABLE_ELEMENTS)
                .linear_memory_keep_resident(self.memory_keep_resident)
                .table_keep_resident(TABLE_ELEMENTS * 16)
                .async_stack_keep_resident(64 << 10)
                .max_unused_warm_slots(256)
                .pagemap_scan(Enabled::Auto);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
        config
    }
}

/// The engine could not be made: too little address space, or a limit that is out of range.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine does not start with these limits ({limits}): {source}")]
pub struct EngineError {
    limits: String,
    source: wasmtime::Error,
}

/// A running engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    wasmtime: wasmtime::Engine,
    config: EngineConfig,
    ticker: Arc<Ticker>,
    clock: Clock,
    reserve: Arc<Reserve>,
}

impl Engine {
    /// Starts an engine and the thread that ends time slices.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when the reservation of address space fails.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let failed = |source| EngineError {
            limits: format!("{:?}", config.allocation),
            source,
        };
        let wasmtime = wasmtime::Engine::new(&config.wasmtime()).map_err(failed)?;
        let ticker = Arc::new(Ticker::default());
        let clock = Clock::new(&wasmtime).map_err(failed)?;
        ticker.clone().start(clock.clone(), config.slice);
        let reserve = Arc::new(Reserve::new(config.growth_reserve));
        Ok(Self {
            inner: Arc::new(Inner {
                wasmtime,
                config,
                ticker,
                clock,
                reserve,
            }),
        })
    }

    /// The settings it was made with.
    pub fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    /// What one new dyno may grow to.
    pub(crate) fn quota(&self) -> Quota {
        Quota::new(self.inner.config.memory_limit, self.inner.reserve.clone())
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.wasmtime
    }

    /// What time slices are counted by.
    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Marks that guest code runs until the result is dropped: only then do time slices end.
    pub(crate) fn running(&self) -> Running<'_> {
        self.inner.ticker.enter();
        Running {
            ticker: &self.inner.ticker,
        }
    }

    /// What compiled code depends on (engine version, settings, the processor), as 16 hexadecimal digits: the key of
    /// everything compiled that is kept on disk.
    pub fn compatibility_key(&self) -> String {
        use std::hash::{Hash, Hasher};
        struct Blake(blake3::Hasher);
        impl Hasher for Blake {
            fn finish(&self) -> u64 {
                0
            }
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }
        }
        let mut hasher = Blake(blake3::Hasher::new());
        self.inner
            .wasmtime
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        preemption::REVISION.hash(&mut hasher);
        hasher.0.finalize().to_hex()[..16].to_owned()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.ticker.stop();
    }
}

/// Advances the clock every slice while guest code runs, and sleeps while none does.
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

    fn start(self: Arc<Self>, clock: Clock, slice: Duration) {
        // A thread that cannot be started leaves dynos without time slices; the router's own timeouts still hold.
        let _ = std::thread::Builder::new()
            .name("clock".into())
            .spawn(move || {
                let mut idle = 0;
                loop {
                    let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    // Staying awake over short gaps saves a wake-up for each request of a busy node.
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

/// Guest code runs as long as this lives.
pub(crate) struct Running<'a> {
    ticker: &'a Ticker,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.ticker.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_and_a_compile_process_agree_on_compiled_code() {
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
