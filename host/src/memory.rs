//! Limits of dynos' memory: one for each dyno, and one for the growth of all dynos of a node.

use std::sync::Arc;

use corundum_exchange::{BoundedCounter, Reservation};
use wasmtime::ResourceLimiter;

use crate::capacity;

/// Maximum number of entries in one table.
const TABLE_ELEMENTS: usize = 1 << 20;
/// Bytes that a dyno may grow by without drawing on the node's reserve. A dyno that has grown by more is soon replaced
/// anyway, so an app whose dynos empty the reserve takes nothing from apps that need no more than this.
const OWN_GROWTH: usize = 32 << 20;

/// The bound that a growth of memory would have exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryBound {
    /// The dyno's own limit.
    Dyno,
    /// The node's reserve, which is used up.
    Node,
}

/// Limit of one dyno's memory, which counts the growth against the node's reserve until it is dropped.
///
/// The reserve bounds what all dynos of a node grow by together, beyond [`OWN_GROWTH`] each: sixteen dynos of one app
/// at their limit would take 8 GB, and the kernel would kill the node.
pub(crate) struct MemoryQuota {
    limit: usize,
    /// Bytes of the image, known from the first growth.
    initial: Option<usize>,
    reserve: Arc<BoundedCounter>,
    /// Growth beyond [`OWN_GROWTH`]; `None` while there is none.
    reserved: Option<Reservation>,
    reached: Option<MemoryBound>,
}

impl MemoryQuota {
    /// Creates the quota of a dyno that may have `limit` bytes, of which some count against `reserve`.
    pub(crate) fn new(limit: usize, reserve: Arc<BoundedCounter>) -> Self {
        Self {
            limit,
            initial: None,
            reserve,
            reserved: None,
            reached: None,
        }
    }

    /// Returns the bound that refused a growth, if one did.
    pub(crate) fn reached(&self) -> Option<MemoryBound> {
        self.reached
    }

    fn grow(&mut self, desired: usize) -> Result<(), MemoryBound> {
        if desired > self.limit {
            return Err(MemoryBound::Dyno);
        }
        let initial = *self.initial.get_or_insert(desired);
        let wanted = desired.saturating_sub(initial.saturating_add(OWN_GROWTH));
        let held = self.reserved.as_ref().map_or(0, Reservation::units);
        let more = wanted.saturating_sub(held);
        if more == 0 {
            return Ok(());
        }
        let grown = match &mut self.reserved {
            Some(reserved) => reserved.try_grow(more),
            None => {
                self.reserved = self.reserve.try_reserve(more);
                self.reserved.is_some()
            }
        };
        if grown {
            Ok(())
        } else {
            Err(MemoryBound::Node)
        }
    }
}

impl ResourceLimiter for MemoryQuota {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.grow(desired);
        self.reached = self.reached.or(grown.err());
        Ok(grown.is_ok())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

/// Returns half of the machine's memory in bytes. The other half is for images, which dynos share, for the pages that
/// dynos write to, and for the node itself.
pub(crate) fn half_of_machine() -> usize {
    usize::try_from(capacity::memory_bytes() / 2).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    #[test]
    fn empty_reserve_leaves_each_dyno_its_own_growth() {
        let reserve = BoundedCounter::new(100 * MB);
        let dyno = || {
            let mut quota = MemoryQuota::new(512 * MB, reserve.clone());
            quota.grow(60 * MB).unwrap();
            quota
        };
        let (mut greedy, mut modest) = (dyno(), dyno());
        greedy.grow(60 * MB + OWN_GROWTH + 90 * MB).unwrap();
        assert_eq!(modest.grow(200 * MB), Err(MemoryBound::Node));
        modest.grow(60 * MB + OWN_GROWTH).unwrap();
        assert_eq!(modest.grow(513 * MB), Err(MemoryBound::Dyno));
        drop(greedy);
        modest.grow(60 * MB + OWN_GROWTH + 100 * MB).unwrap();
    }

    #[test]
    fn machine_memory_is_detected() {
        assert!(half_of_machine() > 100 * MB);
    }
}
