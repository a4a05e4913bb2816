//! How much memory dynos may grow to: each for itself, and all of a node together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::ResourceLimiter;

use crate::capacity;

/// Entries of one table.
const TABLE_ELEMENTS: usize = 1 << 20;
/// Bytes that a dyno may grow by without drawing on the node's reserve: a dyno that has grown by more is soon replaced
/// anyway. So an app whose dynos empty the reserve takes nothing from apps that need no more than this.
const OWN_GROWTH: usize = 32 << 20;

/// What all dynos of a node may grow by together, beyond [`OWN_GROWTH`] each: sixteen dynos of one app at their limit
/// would take 8 GB, and the kernel would end the node for it.
#[derive(Debug)]
pub(crate) struct Reserve {
    left: AtomicUsize,
}

impl Reserve {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            left: AtomicUsize::new(bytes),
        }
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Whose bound a growth would have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryBound {
    /// The dyno's own.
    Dyno,
    /// The node's reserve is used up.
    Node,
}

/// Holds one dyno's memory below its limit, and counts its growth against the reserve until it is dropped.
pub(crate) struct Quota {
    limit: usize,
    /// Bytes of the image.
    initial: Option<usize>,
    taken: usize,
    reserve: Arc<Reserve>,
    reached: Option<MemoryBound>,
}

impl Quota {
    pub(crate) fn new(limit: usize, reserve: Arc<Reserve>) -> Self {
        Self {
            limit,
            initial: None,
            taken: 0,
            reserve,
            reached: None,
        }
    }

    /// The bound that a growth was refused for, if one was.
    pub(crate) fn reached(&self) -> Option<MemoryBound> {
        self.reached
    }

    fn grow(&mut self, desired: usize) -> Result<(), MemoryBound> {
        if desired > self.limit {
            return Err(MemoryBound::Dyno);
        }
        let initial = *self.initial.get_or_insert(desired);
        let wanted = desired.saturating_sub(initial.saturating_add(OWN_GROWTH));
        let more = wanted.saturating_sub(self.taken);
        if !self.reserve.take(more) {
            return Err(MemoryBound::Node);
        }
        self.taken += more;
        Ok(())
    }
}

impl ResourceLimiter for Quota {
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

impl Drop for Quota {
    fn drop(&mut self) {
        self.reserve.give_back(self.taken);
    }
}

/// Half of the machine's memory: the rest is for images, which dynos share, for what they write to, and for the node
/// itself.
pub(crate) fn half_of_the_machine() -> usize {
    usize::try_from(capacity::memory_bytes() / 2).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    #[test]
    fn a_reserve_that_is_empty_leaves_every_dyno_its_own_growth() {
        let reserve = Arc::new(Reserve::new(100 * MB));
        let dyno = || {
            let mut quota = Quota::new(512 * MB, reserve.clone());
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
    fn the_machine_has_memory() {
        assert!(half_of_the_machine() > 100 * MB);
    }
}
