//! Fibers: native stacks for a guest's coroutines.
//!
//! A guest imports three functions from [`corundum_abi::fibers::MODULE`], which a trusted module implements with the
//! engine's stack switching. Guests themselves may not contain its instructions ([`corundum_pack::validate`]).

mod shim;
mod stacks;

pub(crate) use shim::FiberShim;
pub(crate) use stacks::{FiberStacks, STACK_MAPPINGS, StackBudget};
