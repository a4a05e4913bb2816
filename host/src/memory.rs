//! The limit of a dyno's memory, and the charge of its growth.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::account::{Account, Charge, Holding, OutOfReserve};
use crate::log::LogSink;

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

/// Limits of a command's memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes beyond which the log has R14.
    pub quota: usize,
    /// Bytes that the guest cannot exceed.
    pub most: usize,
}

impl MemoryLimits {
    /// The most that a guest's addresses reach.
    const ADDRESSABLE: usize = 4 << 30;

    /// Returns the limits of a process with a quota in bytes: it cannot exceed the double.
    pub const fn of_process(quota: usize) -> Self {
        let double = quota.saturating_mul(2);
        Self {
            quota,
            most: if double < Self::ADDRESSABLE {
                double
            } else {
                Self::ADDRESSABLE
            },
        }
    }

    /// Returns the limits of a command that cannot exceed its quota.
    pub const fn hard(quota: usize) -> Self {
        Self { quota, most: quota }
    }
}

/// Limit of one dyno's memory, which charges the growth beyond the image to the dyno's account.
pub(crate) struct MemoryQuota {
    limit: usize,
    growth: Charge,
    /// Bytes of the last growth, in case the engine fails to make it.
    last: usize,
    reached: Option<MemoryBound>,
    /// The quota below the limit, until it is exceeded, and the log that gets a line about it.
    warning: Option<(usize, Arc<dyn LogSink>)>,
}

impl MemoryQuota {
    /// Creates the quota of a dyno whose memories may have `limit` bytes each.
    pub(crate) fn new(limit: usize, account: &Arc<Account>) -> Self {
        Self {
            limit,
            growth: account.charge(Holding::Growth),
            last: 0,
            reached: None,
            warning: None,
        }
    }

    /// Sets other limits; `log` gets a line when the quota is exceeded.
    pub(crate) fn set_limits(&mut self, limits: MemoryLimits, log: Arc<dyn LogSink>) {
        self.limit = limits.most;
        self.warning = Some((limits.quota, log));
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
        if let Some((_, log)) = self.warning.take_if(|(quota, _)| desired > *quota) {
            log.platform_line("Error R14 (Memory quota exceeded)");
        }
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
