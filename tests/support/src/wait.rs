//! Polling with a deadline.

use std::time::{Duration, Instant};

/// Time between two polls.
const INTERVAL: Duration = Duration::from_millis(20);

/// Polls until `condition` holds.
///
/// # Panics
///
/// Panics with `what` if the condition does not hold within `timeout`.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    let met = poll(timeout, || condition().then_some(()));
    assert!(met.is_some(), "timed out after {timeout:?}: {what}");
}

/// Polls until `attempt` returns a value. Returns `None` after `timeout`.
pub fn poll<T>(timeout: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let value = attempt();
        if value.is_some() || start.elapsed() > timeout {
            return value;
        }
        std::thread::sleep(INTERVAL);
    }
}
