//! Random bytes from the operating system. Each call asks it again, so that no dyno inherits a generator's state from
//! its image.

use std::convert::Infallible;

use rand::TryRng;
use rand::rngs::SysRng;

/// The operating system's random number generator.
pub(super) struct SystemRandom;

impl TryRng for SystemRandom {
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

/// Fills `bytes` with random bytes.
pub(super) fn fill(bytes: &mut [u8]) {
    // getrandom(2) does not fail once the kernel's pool is initialised. If it did, a guest must not continue with
    // predictable bytes, and WASI has no error for this, so the loop waits for the kernel.
    while SysRng.try_fill_bytes(bytes).is_err() {
        std::thread::yield_now();
    }
}
