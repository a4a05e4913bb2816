//! The trusted module that implements fibers, and its linking to a dyno.

use corundum_abi::fibers::ENTRY;
use corundum_pack::preemption;
use wasmtime::{Caller, Extern, Instance, Linker, Module, Store, Val};

use crate::engine::Engine;
use crate::guest_state::GuestState;
use crate::preemption::SliceClock;

/// Source of the module.
const SHIM: &str = include_str!("shim.wat");
/// Import of the shim that reserves a native stack.
const RESERVE_STACK: &str = "reserve_stack";
/// Import of the shim that reports the place of a native stack. The shim calls it on the stack.
const STACK_STARTED: &str = "stack_started";

/// The compiled shim.
pub(crate) struct FiberShim {
    module: Module,
    clock: SliceClock,
}

/// The shim of one dyno.
#[derive(Clone, Copy)]
pub(crate) struct ShimInstance(Instance);

impl FiberShim {
    /// Compiles the shim, and defines in `linker` the host functions that it calls.
    ///
    /// # Errors
    ///
    /// Fails if the engine does not support stack switching on this processor.
    pub(crate) fn new(engine: &Engine, linker: &mut Linker<GuestState>) -> wasmtime::Result<Self> {
        linker.func_wrap(
            preemption::MODULE,
            RESERVE_STACK,
            |mut caller: Caller<'_, GuestState>| i32::from(caller.data_mut().stacks.reserve()),
        )?;
        linker.func_wrap(
            preemption::MODULE,
            STACK_STARTED,
            |mut caller: Caller<'_, GuestState>| {
                let on_the_stack = 0u8;
                let address = std::ptr::from_ref(&on_the_stack).addr();
                caller.data_mut().stacks.add(address);
            },
        )?;
        let wasm = wat::parse_str(SHIM).map_err(|error| wasmtime::Error::msg(error.to_string()))?;
        Ok(Self {
            module: Module::new(engine.wasmtime(), wasm)?,
            clock: engine.clock().clone(),
        })
    }

    /// Creates the shim's instance for one dyno.
    pub(crate) async fn instantiate(
        &self,
        linker: &Linker<GuestState>,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<ShimInstance> {
        let mut function = |name: &str| linker.get(&mut *store, preemption::MODULE, name);
        let imports: [Extern; 4] = [
            self.clock.memory().into(),
            function(preemption::TICK)?,
            function(RESERVE_STACK)?,
            function(STACK_STARTED)?,
        ];
        Instance::new_async(store, &self.module, &imports)
            .await
            .map(ShimInstance)
    }
}

impl ShimInstance {
    /// Returns the function that the guest imports as `name`.
    pub(crate) fn export(self, store: &mut Store<GuestState>, name: &str) -> Option<Extern> {
        self.0.get_func(store, name).map(Extern::Func)
    }

    /// Tells the shim which function of `guest` runs a fiber.
    pub(crate) fn set_entry(
        self,
        guest: Instance,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<()> {
        let missing = |name: &str| wasmtime::Error::msg(format!("the pack has no {name}"));
        let entry = guest.get_func(&mut *store, ENTRY);
        let entry = entry.ok_or_else(|| missing(ENTRY))?;
        let global = self.0.get_global(&mut *store, "entry");
        let global = global.ok_or_else(|| missing("entry of fibers"))?;
        global.set(store, Val::FuncRef(Some(entry)))
    }
}
