//! The limit of a dyno's memory, and the charge of its growth.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::account::{Account, Charge, Holding, OutOfReserve};

/// Maximum number of entries in one table.
const TABLE_ELEMENTS: usize = 1 << 20;

/// The bound that a growth of memory would have exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryBound {
    /// The dyno's own limit.
    Dyno,
    /// The node's reserve, or the app's share of it.
    Node,
}

/// Limit of one dyno's memory, which charges the growth beyond the image to the dyno's account.
pub(crate) struct MemoryQuota {
    limit: usize,
    growth: Charge,
    /// Bytes of the last growth, in case the engine fails to make it.
    last: usize,
    reached: Option<MemoryBound>,
}

impl MemoryQuota {
    /// Creates the quota of a dyno whose memories may have `limit` bytes each.
    pub(crate) fn new(limit: usize, account: &Arc<Account>) -> Self {
        Self {
            limit,
            growth: account.charge(Holding::Growth),
            last: 0,
            reached: None,
        }
    }

    /// Returns the bound that refused memory to the dyno, if one did.
    pub(crate) fn reached(&self) -> Option<MemoryBound> {
        self.reached
    }

    /// Records that the node has no memory for what the dyno has taken already.
    pub(crate) fn exceed_reserve(&mut self) {
        self.reached = self.reached.or(Some(MemoryBound::Node));
    }

    fn grow(&mut self, current: usize, desired: usize) -> Result<(), MemoryBound> {
        self.last = 0;
        if desired > self.limit {
            return Err(MemoryBound::Dyno);
        }
        // A memory begins as its image, whose pages are not the dyno's until it writes to them.
        if current == 0 {
            return Ok(());
        }
        let more = desired.saturating_sub(current);
        let grown = self.growth.try_resize(self.growth.bytes() + more);
        grown.map_err(|OutOfReserve| MemoryBound::Node)?;
        self.last = more;
        Ok(())
    }
}

impl ResourceLimiter for MemoryQuota {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.grow(current, desired);
        self.reached = self.reached.or(grown.err());
        Ok(grown.is_ok())
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        let last = std::mem::take(&mut self.last);
        let _ = self.growth.try_resize(self.growth.bytes() - last);
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::TmpLimits;
    use crate::reserve::{AppShare, NodeReserve};

    const MB: usize = 1 << 20;

    fn dyno(reserve: &Arc<NodeReserve>) -> MemoryQuota {
        let account = Account::new(AppShare::new(reserve.clone()), TmpLimits::default());
        let mut quota = MemoryQuota::new(512 * MB, &account);
        quota.grow(0, 60 * MB).unwrap();
        quota
    }

    #[test]
    fn growth_is_drawn_from_the_first_byte_and_returned_with_the_dyno() {
        let reserve = NodeReserve::new(100 * MB);
        let mut greedy = dyno(&reserve);
        assert_eq!(reserve.bytes().in_use(), 0, "the image is shared");
        greedy.grow(60 * MB, 120 * MB).unwrap();
        assert!(reserve.bytes().in_use() >= 59 * MB);
        assert_eq!(greedy.grow(120 * MB, 200 * MB), Err(MemoryBound::Node));
        let mut modest = dyno(&reserve);
        modest.grow(60 * MB, 70 * MB).unwrap();
        assert_eq!(modest.grow(70 * MB, 513 * MB), Err(MemoryBound::Dyno));
        drop(greedy);
        modest.grow(70 * MB, 110 * MB).unwrap();
    }

    #[test]
    fn growth_that_the_engine_cannot_make_is_not_charged() {
        let reserve = NodeReserve::new(100 * MB);
        let mut quota = dyno(&reserve);
        quota.grow(60 * MB, 70 * MB).unwrap();
        let before = reserve.bytes().in_use();
        quota.grow(70 * MB, 90 * MB).unwrap();
        quota.memory_grow_failed(wasmtime::Error::msg("x")).unwrap();
        quota.memory_grow_failed(wasmtime::Error::msg("x")).unwrap();
        assert!(reserve.bytes().in_use() <= before + MB);
    }
}
