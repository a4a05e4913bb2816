//! Time slices: the clock that guest code compares with, and the host call at the end of a slice.
//!
//! [`corundum_pack::preemption`] inserts the comparisons into a pack's code; this module provides what they import.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use corundum_pack::preemption::{CLOCK, MODULE, POLL, TICK};
use wasmtime::{
    Caller, Extern, FuncType, Global, GlobalType, HeapType, Linker, MemoryType, Mutability,
    RefType, SharedMemory, Store, Val, ValType,
};

use crate::guest_state::GuestState;
use crate::native;

/// Ticks until the first slice of a call ends. With one, a call that began just before a tick would be interrupted
/// at once.
const FIRST_SLICE: u32 = 2;

/// A tick counter in a memory that all dynos of an engine share and none can write to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SliceClock(Arc<ClockParts>);

struct ClockParts {
    memory: SharedMemory,
    /// Type of the function that a guest calls when the clock has moved.
    tick: FuncType,
}

impl SliceClock {
    pub(crate) fn new(engine: &wasmtime::Engine) -> wasmtime::Result<Self> {
        let clock = Self(Arc::new(ClockParts {
            memory: SharedMemory::new(engine, MemoryType::shared(1, 1))?,
            tick: FuncType::new(engine, [], [ValType::I32]),
        }));
        // A guest that has never compared remembers 0, so the clock starts at 1 and the first comparison differs.
        clock.advance();
        Ok(clock)
    }

    /// Advances the clock by one tick, so that every running dyno calls the host at its next comparison.
    pub(crate) fn advance(&self) {
        native::first_word(&self.0.memory).fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the memory that holds the counter.
    pub(crate) fn memory(&self) -> SharedMemory {
        self.0.memory.clone()
    }

    fn now(&self) -> u32 {
        native::first_word(&self.0.memory).load(Ordering::Relaxed)
    }

    /// Returns the tick at which the slice of a call that begins now ends.
    pub(crate) fn first_slice_end(&self) -> u32 {
        self.now().wrapping_add(FIRST_SLICE)
    }

    /// Resolves the import `name` of [`MODULE`] for one dyno.
    pub(crate) fn resolve_import(
        &self,
        name: &str,
        linker: &Linker<GuestState>,
        store: &mut Store<GuestState>,
    ) -> Option<Extern> {
        match name {
            CLOCK => Some(self.0.memory.clone().into()),
            TICK => {
                let tick = linker.get(&mut *store, MODULE, TICK).ok()?.into_func()?;
                let kind = RefType::new(false, HeapType::ConcreteFunc(self.0.tick.clone()));
                let kind = GlobalType::new(ValType::Ref(kind), Mutability::Const);
                let global = Global::new(store, kind, Val::FuncRef(Some(tick))).ok()?;
                Some(global.into())
            }
            POLL => linker.get(store, MODULE, POLL).ok(),
            _ => None,
        }
    }
}

/// Defines the functions that guests call.
pub(crate) fn define_host_functions(
    linker: &mut Linker<GuestState>,
    clock: &SliceClock,
) -> wasmtime::Result<()> {
    let clock = clock.clone();
    linker.func_wrap_async(
        MODULE,
        TICK,
        move |mut caller: Caller<'_, GuestState>, (): ()| {
            let clock = clock.clone();
            Box::new(async move {
                let now = clock.now();
                // The clock wraps around once in eight months; the slice at that moment is a tick or two off.
                if now.wrapping_sub(caller.data().slice_ends).cast_signed() < 0 {
                    return Ok(now.cast_signed());
                }
                caller.data_mut().output.flush_now();
                charge_pages(&mut caller)?;
                set_interrupt_flag(&mut caller);
                tokio::task::yield_now().await;
                let now = clock.now();
                caller.data_mut().slice_ends = now.wrapping_add(1);
                Ok::<i32, wasmtime::Error>(now.cast_signed())
            })
        },
    )?;
    // The pass replaces direct calls of POLL by the comparison itself. Only indirect calls reach this function, and
    // they need no comparison.
    linker.func_wrap(MODULE, POLL, || {})?;
    Ok(())
}

/// Charges the pages that the guest has copied to its account, from time to time.
///
/// # Errors
///
/// Fails, which ends the guest, if the node has no memory for them.
fn charge_pages(caller: &mut Caller<'_, GuestState>) -> wasmtime::Result<()> {
    let cpu = Duration::from_nanos(caller.data().cpu.nanoseconds());
    if !caller.data().pages.is_due(cpu) {
        return Ok(());
    }
    let Some(memory) = caller.data().memory else {
        return Ok(());
    };
    let (memory, state) = memory.data_and_store_mut(caller);
    state
        .settle_pages(memory, cpu)
        .map_err(wasmtime::Error::new)
}

/// Tells the guest that its time slice has ended, if it asked for that.
pub(crate) fn set_interrupt_flag(caller: &mut Caller<'_, GuestState>) {
    let flag = caller.data().interrupt;
    if let Some(memory) = caller.data().memory {
        flag.set(memory.data_mut(caller));
    }
}
