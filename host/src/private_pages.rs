//! The pages of an image that a dyno has a copy of.
//!
//! The kernel copies a page when the guest first writes to it and tells nobody. The host therefore asks after each some
//! milliseconds of computing: copying a page takes longer than looking at one, so a dyno cannot take much in between.

use std::sync::Arc;
use std::time::Duration;

use crate::account::{Account, Charge, Holding, OutOfReserve};
use crate::native;

/// Processor time of a dyno between two looks, in which it can copy some 100 MB. A look takes 0.1 % to 1 % of it.
const INTERVAL: Duration = Duration::from_millis(20);

/// Charges the copied pages of one dyno to its account.
pub(crate) struct PrivatePages {
    charge: Charge,
    /// Bytes of the image.
    image: usize,
    /// Processor time of the dyno at the last look.
    looked: Duration,
}

impl PrivatePages {
    /// Creates the charge of a dyno, before its image is known.
    pub(crate) fn new(account: &Arc<Account>) -> Self {
        Self {
            charge: account.charge(Holding::Pages),
            image: 0,
            looked: Duration::ZERO,
        }
    }

    /// Sets the bytes of the image.
    pub(crate) fn set_image(&mut self, bytes: usize) {
        self.image = bytes;
    }

    /// Returns whether a dyno that has computed for `cpu` may have copied pages that are not charged.
    pub(crate) fn is_due(&self, cpu: Duration) -> bool {
        cpu.saturating_sub(self.looked) >= INTERVAL
    }

    /// Charges the pages that the dyno has a copy of. `memory` is the guest's.
    ///
    /// # Errors
    ///
    /// Returns [`OutOfReserve`] if the node has no memory for them; the dyno must end then.
    pub(crate) fn settle(&mut self, memory: &[u8], cpu: Duration) -> Result<(), OutOfReserve> {
        self.looked = cpu;
        let image = &memory[..self.image.min(memory.len())];
        self.charge.try_resize(native::private_bytes(image))
    }
}
