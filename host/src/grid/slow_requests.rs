//! Apps whose requests compute for long, so that they run beside the router's threads and not on them.
//!
//! The first part of a request runs on the thread that brought it, which is the shortest way for short requests. Requests
//! that compute for some milliseconds each would keep that thread from the requests of other apps.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Computing time from which a request is slow. Changing the thread costs a hundredth of it.
const SLOW: Duration = Duration::from_millis(2);
/// Slow requests, less those that were not, from which an app is slow. A busy machine interrupts short requests too, but
/// not most of them.
const MANY: u32 = 8;
/// Most that an app has to make up for by short requests.
const MOST: u32 = 16;
/// Slow requests that a short one makes up for.
const SHORT: u32 = 2;

/// A balance of slow and short requests of one app. Concurrent updates may lose each other, which does no harm.
#[derive(Debug, Default)]
pub(super) struct SlowRequests(AtomicU32);

impl SlowRequests {
    /// Records the time that a request has computed.
    pub(super) fn record(&self, cpu: Duration) {
        let before = self.0.load(Ordering::Relaxed);
        let after = match cpu >= SLOW {
            true => (before + 1).min(MOST),
            false => before.saturating_sub(SHORT),
        };
        if after != before {
            self.0.store(after, Ordering::Relaxed);
        }
    }

    /// Returns whether most of the app's recent requests were slow.
    pub(super) fn prevail(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_is_slow_while_most_of_its_requests_are() {
        let requests = SlowRequests::default();
        let record = |milliseconds, count| {
            (0..count).for_each(|_| requests.record(Duration::from_millis(milliseconds)));
        };
        record(5, 7);
        assert!(!requests.prevail());
        record(5, 1000);
        assert!(requests.prevail());
        record(0, 4);
        assert!(requests.prevail());
        record(0, 1);
        assert!(!requests.prevail());
        for _ in 0..1000 {
            record(1, 1);
            record(9, 2);
        }
        assert!(!requests.prevail(), "a third of them are short");
    }
}
