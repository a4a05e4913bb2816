//! Time slices: the clock that dynos' code compares with, and what happens when theirs is over.
//!
//! [`corundum_pack::preemption`] has a pack's code ask; this answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use corundum_pack::preemption::{CLOCK, MODULE, POLL, TICK};
use wasmtime::{
    Caller, Extern, FuncType, Global, GlobalType, HeapType, Linker, MemoryType, Mutability,
    RefType, SharedMemory, Store, Val, ValType,
};

use crate::dyno::State;
use crate::native;

/// Slices that a call begins with: with one, a call begun just before a tick would be interrupted at once.
const FIRST: u32 = 2;

/// One number in a memory that all dynos of an engine share and none can write to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Clock(Arc<Parts>);

struct Parts {
    memory: SharedMemory,
    /// The type of what dynos call.
    tick: FuncType,
}

impl Clock {
    pub(crate) fn new(engine: &wasmtime::Engine) -> wasmtime::Result<Self> {
        let clock = Self(Arc::new(Parts {
            memory: SharedMemory::new(engine, MemoryType::shared(1, 1))?,
            tick: FuncType::new(engine, [], [ValType::I32]),
        }));
        // What has never asked has seen 0: then it is not 0.
        clock.advance();
        Ok(clock)
    }

    /// Ends a slice of everybody.
    pub(crate) fn advance(&self) {
        native::first_word(&self.0.memory).fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> u32 {
        native::first_word(&self.0.memory).load(Ordering::Relaxed)
    }

    /// When the slice of a call that begins now is over.
    pub(crate) fn first_slice(&self) -> u32 {
        self.now().wrapping_add(FIRST)
    }

    /// The import `name` of [`MODULE`] for a dyno.
    pub(crate) fn import(
        &self,
        name: &str,
        linker: &Linker<State>,
        store: &mut Store<State>,
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

/// Defines what dynos call.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, clock: &Clock) -> wasmtime::Result<()> {
    let clock = clock.clone();
    linker.func_wrap_async(
        MODULE,
        TICK,
        move |mut caller: Caller<'_, State>, (): ()| {
            let clock = clock.clone();
            Box::new(async move {
                let now = clock.now();
                // A clock that has wrapped around is a slice or two off, once in eight months.
                if now.wrapping_sub(caller.data().slice_ends).cast_signed() < 0 {
                    return Ok(now.cast_signed());
                }
                caller.data_mut().output.flush_now();
                interrupt(&mut caller);
                tokio::task::yield_now().await;
                let now = clock.now();
                caller.data_mut().slice_ends = now.wrapping_add(1);
                Ok::<i32, wasmtime::Error>(now.cast_signed())
            })
        },
    )?;
    // Calls of it become the comparison itself; one that comes here has nothing to ask.
    linker.func_wrap(MODULE, POLL, || {})?;
    Ok(())
}

/// Tells the guest that its time slice has ended.
fn interrupt(caller: &mut Caller<'_, State>) {
    let at = caller.data().interrupt as usize;
    if at == 0 {
        return;
    }
    if let Some(memory) = caller.data().memory
        && let Some(byte) = memory.data_mut(caller).get_mut(at)
    {
        *byte |= 1;
    }
}
