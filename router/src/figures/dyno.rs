//! What is counted of one dyno's place in its formation: a dyno that is replaced keeps its name, and its figures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::app::{Summary, count, nanoseconds};
use super::histogram::{Distribution, Histogram};
use super::window::{NUMBERS, Sample, Span, Window};
use crate::log_line::Entry;

/// What is counted of one dyno.
#[derive(Debug, Default)]
pub struct DynoFigures {
    requests: AtomicU64,
    errors: AtomicU64,
    bytes: AtomicU64,
    /// Nanoseconds that it computed.
    cpu: AtomicU64,
    service: Histogram,
    window: Mutex<Window>,
}

impl DynoFigures {
    pub(super) fn record(&self, entry: &Entry) {
        count(&self.requests, 1);
        count(&self.errors, u64::from(entry.status >= 500));
        count(&self.bytes, entry.bytes);
        count(&self.cpu, nanoseconds(entry.cpu));
        self.service.record(entry.service);
    }

    /// What was counted over `span`. Of the cache and of waiting it says nothing, since they come before a dyno.
    pub fn over(&self, span: Span) -> Summary {
        let sum = self.window().over(span, &self.sample());
        let [requests, errors, bytes, cpu, ..] = sum.numbers;
        Summary {
            requests,
            errors,
            bytes,
            cpu: Duration::from_nanos(cpu),
            cache_hits: 0,
            cache_asked: 0,
            service: sum.service,
            queue: Distribution::default(),
        }
    }

    /// Whether it has been used lately.
    pub(super) fn tick(&self) -> bool {
        let mut window = self.window();
        window.tick(self.sample());
        !window.is_empty()
    }

    fn sample(&self) -> Sample {
        let mut numbers = [0; NUMBERS];
        let counters = [&self.requests, &self.errors, &self.bytes, &self.cpu];
        for (number, counter) in numbers.iter_mut().zip(counters) {
            *number = counter.load(Ordering::Relaxed);
        }
        Sample {
            service: self.service.read(),
            queue: Distribution::default(),
            numbers,
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
