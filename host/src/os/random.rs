//! Random bytes: the operating system's, asked anew each time, so that no dyno inherits a generator's state.

use std::convert::Infallible;

use rand::TryRng;
use rand::rngs::SysRng;

/// The operating system's generator.
pub(super) struct System;

impl TryRng for System {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill(bytes);
        Ok(())
    }
}

/// Fills `bytes` with random ones.
pub(super) fn fill(bytes: &mut [u8]) {
    // getrandom(2) does not fail once the kernel's pool is initialised. Were it to, a guest must not go on with
    // predictable bytes, and there is no error to give it: the loop waits for the kernel.
    while SysRng.try_fill_bytes(bytes).is_err() {
        std::thread::yield_now();
    }
}
