//! Pauses between the starts of a process that ends again and again.

use std::time::Duration;

/// Run time after which a process counts as healthy.
const HEALTHY: Duration = Duration::from_secs(60);
/// The first pause.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(600);

/// The pauses of one process: each is twice as long as the one before, up to ten minutes.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the pause after a run of this length.
    pub(crate) fn pause_after(&mut self, run: Duration) -> Duration {
        if run >= HEALTHY {
            self.failures = 0;
        }
        let pause = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        pause.min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_minutes_until_a_run_is_healthy() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..12)
            .map(|_| backoff.pause_after(Duration::ZERO).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!(backoff.pause_after(HEALTHY), FIRST);
        for _ in 0..100 {
            backoff.pause_after(Duration::ZERO);
        }
        assert_eq!(backoff.pause_after(Duration::ZERO), LONGEST);
    }
}
