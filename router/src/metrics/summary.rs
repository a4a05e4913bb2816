//! Metrics of a period, and the arithmetic of counters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::HistogramSnapshot;

/// Metrics of a period.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsSummary {
    /// Requests.
    pub requests: u64,
    /// Requests with a status of 500 or above.
    pub errors: u64,
    /// Bytes of response bodies.
    pub bytes: u64,
    /// CPU time of dynos.
    pub cpu: Duration,
    /// Responses from the cache.
    pub cache_hits: u64,
    /// Requests that the cache looked up.
    pub cache_asked: u64,
    /// Service times.
    pub service: HistogramSnapshot,
    /// Times of waiting for a dyno.
    pub queue: HistogramSnapshot,
}

pub(super) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
