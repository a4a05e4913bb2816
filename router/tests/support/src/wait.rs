//! Polling with a deadline.

use std::time::Duration;

/// Polls until `condition` holds.
///
/// # Panics
///
/// Panics with `what` if the condition does not hold within 5 s.
pub async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let met = poll(|| condition().then_some(())).await;
    assert!(met.is_some(), "timed out: {what}");
}

/// Polls until `attempt` returns a value. Returns `None` after 5 s.
pub async fn poll<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..500 {
        let value = attempt();
        if value.is_some() {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    None
}
