//! Metrics of one dyno's place in its formation; a dyno that is replaced keeps its name, and its metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::histogram::{Histogram, HistogramSnapshot};
use super::summary::{MetricsSummary, count, nanoseconds};
use super::window::{MetricsSample, MetricsWindow, NUMBERS, SummaryPeriod};
use crate::log_line::RequestRecord;

/// Counters of one dyno.
#[derive(Debug, Default)]
pub struct DynoCounters {
    requests: AtomicU64,
    errors: AtomicU64,
    bytes: AtomicU64,
    /// Nanoseconds of CPU time.
    cpu: AtomicU64,
    service: Histogram,
    window: Mutex<MetricsWindow>,
}

impl DynoCounters {
    pub(super) fn record(&self, entry: &RequestRecord) {
        count(&self.requests, 1);
        count(&self.errors, u64::from(entry.status >= 500));
        count(&self.bytes, entry.bytes);
        count(&self.cpu, nanoseconds(entry.cpu));
        self.service.record(entry.service);
    }

    /// Summarises `period`. The fields for the cache and for waiting are empty, since both come before a dyno.
    pub fn over(&self, period: SummaryPeriod) -> MetricsSummary {
        let sum = self.window().over(period, &self.sample());
        let [requests, errors, bytes, cpu, ..] = sum.numbers;
        MetricsSummary {
            requests,
            errors,
            bytes,
            cpu: Duration::from_nanos(cpu),
            cache_hits: 0,
            cache_asked: 0,
            service: sum.service,
            queue: HistogramSnapshot::default(),
        }
    }

    /// Advances the window, and returns whether the dyno has been used within its length.
    pub(super) fn tick(&self) -> bool {
        let mut window = self.window();
        window.tick(self.sample());
        !window.is_empty()
    }

    fn sample(&self) -> MetricsSample {
        let mut numbers = [0; NUMBERS];
        let counters = [&self.requests, &self.errors, &self.bytes, &self.cpu];
        for (number, counter) in numbers.iter_mut().zip(counters) {
            *number = counter.load(Ordering::Relaxed);
        }
        MetricsSample {
            service: self.service.read(),
            queue: HistogramSnapshot::default(),
            numbers,
        }
    }

    fn window(&self) -> MutexGuard<'_, MetricsWindow> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
