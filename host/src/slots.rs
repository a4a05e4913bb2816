//! The engine's slots for memories, and the kernel mappings and pages that they take.
//!
//! The engine keeps a slot as it was when its dyno ended: the image stays mapped, and some of the pages stay in memory,
//! because the next dyno is likely to be of the same app. Slots that no dyno uses are released when the node runs short
//! of mappings or of memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_exchange::{BoundedCounter, Reservation};
use wasmtime::{Engine, Instance, Module, ResourceLimiter, Store};

/// Kernel mappings of a dyno's memory: around its image, the image, and the memory of its exceptions.
pub(crate) const SLOT_MAPPINGS: usize = 6;
/// Kernel mappings that a dyno's memories keep when their slots are released: the engine's own regions around them stay
/// apart.
const RELEASED_MAPPINGS: usize = 2;
/// Dynos at once below which a node is not ready.
const FEW_DYNOS: usize = 4;
/// Module with a memory of no pages.
const EMPTY_MEMORY: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\0";
/// Slots in a row without pages after which the search for slots with pages ends.
const EMPTY_SLOTS: usize = 300;

/// The kernel mappings that dynos and images may take, of those that the kernel allows the process.
///
/// A slot takes its mappings with its first dyno and keeps them for later ones.
pub(crate) struct MappingBudget {
    mappings: Arc<BoundedCounter>,
    slots: Mutex<UsedSlots>,
}

#[derive(Default)]
struct UsedSlots {
    /// Mappings of all slots that were ever used and not released.
    reserved: Option<Reservation>,
    used: usize,
    /// Slots with a dyno.
    live: usize,
    /// Slots that were used and released.
    released: usize,
}

/// The mappings of one dyno. They stay with the engine's slots when this is dropped.
pub(crate) struct SlotMappings(Arc<MappingBudget>);

impl MappingBudget {
    /// Creates a budget of `limit` mappings.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            mappings: BoundedCounter::new(limit),
            slots: Mutex::default(),
        })
    }

    fn slots(&self) -> MutexGuard<'_, UsedSlots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the counter.
    pub(crate) fn mappings(&self) -> &Arc<BoundedCounter> {
        &self.mappings
    }

    /// Reserves mappings for a dyno: those of a slot that was used before, or new ones.
    pub(crate) fn reserve_slot(self: &Arc<Self>) -> Option<SlotMappings> {
        let mut slots = self.slots();
        if slots.live == slots.used {
            let more = match slots.released {
                0 => SLOT_MAPPINGS,
                _ => SLOT_MAPPINGS - RELEASED_MAPPINGS,
            };
            let reserved = match &mut slots.reserved {
                Some(reserved) => reserved.try_grow(more),
                None => {
                    slots.reserved = self.mappings.try_reserve(more);
                    slots.reserved.is_some()
                }
            };
            if !reserved {
                return None;
            }
            slots.used += 1;
            slots.released = slots.released.saturating_sub(1);
        }
        slots.live += 1;
        Some(SlotMappings(self.clone()))
    }

    /// Returns the slots that were used and have no dyno.
    pub(crate) fn unused_slots(&self) -> usize {
        let slots = self.slots();
        slots.used - slots.live
    }

    /// Returns whether so few dynos may exist at once that requests of most apps wait in vain.
    pub(crate) fn is_used_up(&self) -> bool {
        let more = self.mappings.available() / SLOT_MAPPINGS;
        self.slots().used.saturating_add(more) < FEW_DYNOS
    }

    /// Returns whether few mappings are left, so that unused slots should be released.
    pub(crate) fn is_scarce(&self) -> bool {
        self.mappings.available() < self.mappings.limit() / 8
    }

    fn record_released(&self) {
        let mut slots = self.slots();
        slots.released += slots.used - slots.live;
        slots.used = slots.live;
        let mappings = slots.live * SLOT_MAPPINGS + slots.released * RELEASED_MAPPINGS;
        if let Some(reserved) = &mut slots.reserved {
            reserved.try_resize(mappings);
        }
    }
}

impl Drop for SlotMappings {
    fn drop(&mut self) {
        self.0.slots().live -= 1;
    }
}

/// Returns the bytes that stay in memory for slots without a dyno.
pub(crate) fn unused_bytes(engine: &Engine) -> usize {
    engine
        .pooling_allocator_metrics()
        .map_or(0, |metrics| metrics.unused_memory_bytes_resident())
}

/// Releases the mappings and pages of all slots without a dyno. It takes up to a tenth of a millisecond for each, on
/// threads of its own.
pub(crate) fn release_unused(engine: &Engine, budget: &MappingBudget) {
    if engine.pooling_allocator_metrics().is_none() {
        return;
    }
    // The engine divides its slots into as many parts as there are processors, 16 at most, and assigns threads to the
    // parts in turn. A thread finds the unused slots of its own part.
    let parts = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..parts.min(16) {
        let part = std::thread::Builder::new().name("slots".to_owned());
        let engine = engine.clone();
        let released = part.spawn(move || release_part(&engine));
        if let Ok(released) = released {
            let _ = released.join();
        }
    }
    budget.record_released();
}

fn release_part(engine: &Engine) {
    let Some(metrics) = engine.pooling_allocator_metrics() else {
        return;
    };
    let (mut before, mut empty) = (metrics.unused_memory_bytes_resident(), 0);
    for _ in 0..=metrics.unused_warm_memories() {
        if release_one(engine).is_err() || empty > EMPTY_SLOTS {
            return;
        }
        let after = metrics.unused_memory_bytes_resident();
        empty = if after < before { 0 } else { empty + 1 };
        before = after;
    }
}

/// Releases the slot that has been unused for longest.
///
/// The engine has no call for this. An instantiation that fails after it has got its slot leaves the slot in a state that
/// the engine does not know, so the next user of the slot, which is of the same module, maps all of it anew.
fn release_one(engine: &Engine) -> wasmtime::Result<()> {
    let module = Module::new(engine, EMPTY_MEMORY)?;
    let mut refusing = Store::new(engine, RefuseMemory);
    refusing.limiter(|limiter| limiter);
    let refused = Instance::new(&mut refusing, &module, &[]);
    debug_assert!(refused.is_err(), "the limiter refuses each memory");
    Instance::new(&mut Store::new(engine, ()), &module, &[])?;
    Ok(())
}

/// A limiter that refuses each memory.
struct RefuseMemory;

impl ResourceLimiter for RefuseMemory {
    fn memory_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(false)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::engine::IMAGE_MAPPINGS;
    use crate::engine::{Allocation, Engine as NodeEngine, EngineConfig};

    fn engine() -> NodeEngine {
        let config = EngineConfig {
            allocation: Allocation::Pooled { dynos: 400 },
            ..EngineConfig::default()
        };
        NodeEngine::new(config).unwrap()
    }

    /// Counts the kernel mappings of this process.
    fn mappings() -> usize {
        fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .count()
    }

    /// Returns the modules of images, whose data lies in the middle of a memory.
    fn modules(engine: &NodeEngine, directory: &std::path::Path, count: usize) -> Vec<Module> {
        let wasm = wat::parse_str(
            r#"(module (memory (export "memory") 100)
                (data (i32.const 1000000) "x") (data (i32.const 3000000) "x"))"#,
        );
        let path = directory.join("image.cwasm");
        crate::compiled::write(engine, &wasm.unwrap(), &path).unwrap();
        (0..count)
            .map(|_| crate::compiled::load(engine, &path).unwrap())
            .collect()
    }

    /// Instantiates a module and writes to a page before, in and behind its image, and to one that it grows by.
    fn dyno(engine: &NodeEngine, module: &Module) -> Store<()> {
        let mut store = Store::new(engine.wasmtime(), ());
        let instance = Instance::new(&mut store, module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        memory.grow(&mut store, 10).unwrap();
        for at in [0, 1_500_000, 5_000_000, 100 * 65536] {
            memory.data_mut(&mut store)[at] = 1;
        }
        store
    }

    /// All in one test, because other tests of this process would disturb the counts less than each other.
    #[test]
    fn budget_covers_images_and_slots_and_unused_slots_are_released() {
        let engine = engine();
        let directory = tempfile::tempdir().unwrap();
        let before = mappings();
        let modules = modules(&engine, directory.path(), 100);
        let loaded = mappings() - before;
        assert!(
            loaded <= 100 * IMAGE_MAPPINGS + 200,
            "{loaded} for 100 images"
        );

        let before = mappings();
        let dynos: Vec<_> = (0..350).map(|n| dyno(&engine, &modules[n % 100])).collect();
        let live = mappings() - before;
        assert!(live <= 350 * SLOT_MAPPINGS + 200, "{live} for 350 dynos");
        drop(dynos);
        let unused = mappings() - before;
        assert!(unused > 350, "unused slots keep their mappings: {unused}");
        assert!(unused_bytes(engine.wasmtime()) >= 350 * 4096);

        engine.release_unused_slots();
        let released = mappings().saturating_sub(before);
        assert!(
            released <= 350 * RELEASED_MAPPINGS + 200 && released < unused / 2,
            "{released} of {unused} are left"
        );
        assert_eq!(unused_bytes(engine.wasmtime()), 0);

        // Released slots work as new ones do.
        let mut again = dyno(&engine, &modules[0]);
        let module = Instance::new(&mut again, &modules[1], &[]).unwrap();
        let memory = module.get_memory(&mut again, "memory").unwrap();
        let bytes = memory.data(&again);
        assert!(bytes[3_000_000] == b'x' && bytes[1_500_000] == 0);
    }

    #[test]
    fn used_slots_keep_their_mappings_until_they_are_released() {
        let budget = MappingBudget::new(10 * SLOT_MAPPINGS);
        let live: Vec<_> = (0..20).filter_map(|_| budget.reserve_slot()).collect();
        assert_eq!((live.len(), budget.unused_slots()), (10, 0));
        assert!(budget.is_scarce() && !budget.is_used_up());
        drop(live);
        assert!(budget.mappings().try_reserve(1).is_none(), "for images");
        let again: Vec<_> = (0..4).filter_map(|_| budget.reserve_slot()).collect();
        assert_eq!((again.len(), budget.unused_slots()), (4, 6));
        budget.record_released();
        let released = SLOT_MAPPINGS - RELEASED_MAPPINGS;
        assert_eq!(budget.mappings().available(), 6 * released);
        assert!((0..6).all(|_| budget.reserve_slot().is_some()));
        drop(again);
        let images = MappingBudget::new(10 * SLOT_MAPPINGS);
        let _loaded = images.mappings().try_reserve(7 * SLOT_MAPPINGS);
        assert!(images.is_used_up(), "three dynos are too few");
    }
}
