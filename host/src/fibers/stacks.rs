//! Native stacks of fibers: a bound for each dyno, one for the node, and the charge of the memory that they take.
//!
//! The engine maps a stack of [`crate::engine::EngineConfig::async_stack`] bytes for each continuation and releases it
//! with the dyno. The kernel commits the pages that a fiber touches, from the top downwards. The host therefore looks at
//! them from time to time, as it does at the pages of the image ([`crate::private_pages`]).

use std::sync::Arc;

use corundum_exchange::{BoundedCounter, Reservation};

use crate::account::{Account, Charge, Holding, OutOfReserve};
use crate::native;
use crate::slots::MappingBudget;

/// Maximum number of stacks of one dyno; `shim.wat` has the same.
pub(crate) const STACKS_PER_DYNO: usize = 256;
/// Kernel mappings of a stack: the stack and its guard.
pub(crate) const STACK_MAPPINGS: usize = 2;
/// Bytes that each stack is charged with at least.
const MINIMUM: usize = 64 << 10;
/// Part of the node's stacks that dynos with few of them can get when others have taken all the rest.
const KEPT: usize = 4;
/// Stacks of a dyno with few of them: a background thread, an enumerator.
const FEW: usize = 2;

/// Stacks that all dynos of a node may have together. Cheap to clone.
#[derive(Clone)]
pub(crate) struct StackBudget(Arc<BudgetParts>);

struct BudgetParts {
    stacks: Arc<BoundedCounter>,
    mappings: Arc<MappingBudget>,
    /// Bytes of one stack.
    stack_bytes: usize,
}

impl StackBudget {
    /// Creates a budget of `stacks` stacks of `stack_bytes` each, whose mappings are drawn from `mappings`.
    pub(crate) fn new(stacks: usize, stack_bytes: usize, mappings: Arc<MappingBudget>) -> Self {
        Self(Arc::new(BudgetParts {
            stacks: BoundedCounter::new(stacks),
            mappings,
            stack_bytes,
        }))
    }
}

/// The stacks of one dyno, which return to the node's budget when this is dropped.
pub(crate) struct FiberStacks {
    budget: StackBudget,
    charge: Charge,
    count: Option<Reservation>,
    mappings: Option<Reservation>,
    stacks: Vec<StackUse>,
}

/// The use of one stack.
struct StackUse {
    /// Address behind its highest page.
    top: usize,
    /// Bytes below `top` that were in memory at the last look.
    used: usize,
}

impl FiberStacks {
    /// Creates the stacks of a dyno that has none yet.
    pub(crate) fn new(budget: &StackBudget, account: &Arc<Account>) -> Self {
        Self {
            budget: budget.clone(),
            charge: account.charge(Holding::Stacks),
            count: None,
            mappings: None,
            stacks: Vec::new(),
        }
    }

    /// Reserves one more stack. Returns false, and reserves nothing, if the dyno or the node may have no more.
    pub(crate) fn reserve(&mut self) -> bool {
        let BudgetParts {
            stacks, mappings, ..
        } = &*self.budget.0;
        let held = self.count.as_ref().map_or(0, Reservation::units);
        let may_take_more = held < FEW || stacks.available() > stacks.limit() / KEPT;
        if held >= STACKS_PER_DYNO || !may_take_more || !add(&mut self.count, stacks, 1) {
            return false;
        }
        let reserved = add(&mut self.mappings, mappings.mappings(), STACK_MAPPINGS)
            && self
                .charge
                .try_resize(self.charge.bytes() + MINIMUM)
                .is_ok();
        if !reserved {
            shrink(&mut self.count, held);
            shrink(&mut self.mappings, held * STACK_MAPPINGS);
        }
        reserved
    }

    /// Adds a stack that has been reserved. `address` is in its highest pages.
    pub(crate) fn add(&mut self, address: usize) {
        if self.stacks.len() < STACKS_PER_DYNO {
            let top = native::page_end(address);
            self.stacks.push(StackUse { top, used: 0 });
        }
    }

    /// Charges the pages of the stacks that the guest has touched.
    ///
    /// # Errors
    ///
    /// Returns [`OutOfReserve`] if the node has no memory for them; the dyno must end then.
    pub(crate) fn settle(&mut self) -> Result<(), OutOfReserve> {
        if self.stacks.is_empty() {
            return Ok(());
        }
        let most = self.budget.0.stack_bytes;
        for stack in &mut self.stacks {
            stack.used = native::stack_use(stack.top, stack.used, most);
        }
        let reserved = self.count.as_ref().map_or(0, Reservation::units);
        let beyond = self.stacks.iter();
        let beyond = beyond.map(|stack| stack.used.saturating_sub(MINIMUM));
        let bytes = reserved * MINIMUM + beyond.sum::<usize>();
        self.charge.try_resize(bytes)
    }
}

/// Adds `units` of `counter` to a reservation. Returns false, and adds nothing, if they are not left.
fn add(reservation: &mut Option<Reservation>, counter: &Arc<BoundedCounter>, units: usize) -> bool {
    match reservation {
        Some(reservation) => reservation.try_grow(units),
        None => {
            *reservation = counter.try_reserve(units);
            reservation.is_some()
        }
    }
}

fn shrink(reservation: &mut Option<Reservation>, units: usize) {
    if let Some(reservation) = reservation
        && reservation.units() > units
    {
        reservation.try_resize(units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::TmpLimits;
    use crate::reserve::{AppShare, NodeReserve};

    const STACK: usize = 1 << 20;

    fn reserve_all(stacks: &mut FiberStacks) -> usize {
        std::iter::repeat_with(|| stacks.reserve())
            .take(10 * STACKS_PER_DYNO)
            .filter(|reserved| *reserved)
            .count()
    }

    fn dyno(budget: &StackBudget, reserve: &Arc<NodeReserve>) -> FiberStacks {
        let account = Account::new(AppShare::new(reserve.clone()), TmpLimits::default());
        FiberStacks::new(budget, &account)
    }

    #[test]
    fn stacks_draw_on_all_budgets_until_the_dyno_ends() {
        let mappings = MappingBudget::new(100);
        let budget = StackBudget::new(1000, STACK, mappings.clone());
        let reserve = NodeReserve::new(100 << 20);
        let mut dyno = dyno(&budget, &reserve);
        assert_eq!(reserve_all(&mut dyno), 50, "two mappings each");
        assert_eq!(mappings.mappings().in_use(), 100);
        assert_eq!(budget.0.stacks.in_use(), 50);
        assert_eq!(dyno.charge.bytes(), 50 * MINIMUM);
        assert!(reserve.bytes().in_use() > 0);
        drop(dyno);
        assert_eq!(mappings.mappings().in_use(), 0);
        assert_eq!(budget.0.stacks.in_use(), 0);
        assert_eq!(reserve.bytes().in_use(), 0);
    }

    #[test]
    fn stacks_are_limited_by_memory() {
        let budget = StackBudget::new(1000, STACK, MappingBudget::new(10_000));
        let reserve = NodeReserve::new(4 << 20);
        let mut dyno = dyno(&budget, &reserve);
        let count = reserve_all(&mut dyno);
        assert!((10..=64).contains(&count), "{count}");
        assert_eq!(budget.0.stacks.in_use(), count);
    }

    #[test]
    fn a_dyno_has_a_maximum_of_stacks_and_leaves_some_to_others() {
        let reserve = NodeReserve::new(1 << 30);
        let ample = StackBudget::new(10_000, STACK, MappingBudget::new(100_000));
        assert_eq!(reserve_all(&mut dyno(&ample, &reserve)), STACKS_PER_DYNO);
        let scarce = StackBudget::new(100, STACK, MappingBudget::new(100_000));
        let (mut greedy, mut modest) = (dyno(&scarce, &reserve), dyno(&scarce, &reserve));
        assert_eq!(reserve_all(&mut greedy), 75);
        assert_eq!(reserve_all(&mut modest), FEW);
    }

    #[test]
    fn used_pages_of_a_stack_are_charged() {
        let budget = StackBudget::new(10, STACK, MappingBudget::new(100));
        let reserve = NodeReserve::new(100 << 20);
        let mut dyno = dyno(&budget, &reserve);
        assert!(dyno.reserve());
        // A new mapping has no pages in memory yet; an allocation may reuse some that have been touched.
        let mut stack = memmap2::MmapMut::map_anon(STACK).unwrap();
        let end = stack.len();
        dyno.add(stack.as_ptr_range().end.addr() - 100);
        stack[end - (600 << 10)..].fill(1);
        dyno.settle().unwrap();
        let charged = dyno.charge.bytes();
        assert!((590 << 10..=620 << 10).contains(&charged), "{charged}");
        stack.fill(1);
        dyno.settle().unwrap();
        assert!(dyno.charge.bytes() <= STACK);
        assert!(dyno.charge.bytes() >= STACK - (8 << 10));
    }
}
