//! Metrics of one app.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::dyno::DynoCounters;
use super::histogram::{Histogram, HistogramSnapshot};
use super::summary::{MetricsSummary, count, nanoseconds};
use super::window::{MetricsSample, MetricsWindow, SummaryPeriod};
use crate::failure::Failure;
use crate::fair_pool::AppShares;
use crate::log_line::RequestRecord;

/// Failure codes with a counter of their own; all others share the last one.
const CODES: [&str; 18] = [
    "H10", "H11", "H12", "H13", "H14", "H15", "H17", "H18", "H20", "H22", "H25", "H26", "H27",
    "H28", "H31", "H80", "H81", "other",
];

/// Codes of requests that reached no dyno. Their time is not service time.
const NOT_SERVED: [&str; 7] = ["H10", "H11", "H14", "H20", "H22", "H80", "H81"];

/// Results of the cache.
const CACHE_RESULTS: [&str; 5] = ["hit", "stale", "revalidated", "miss", "bypass"];

/// Counters of one app since the node started, and its shares of the router's pools. Counting takes no lock.
#[derive(Debug, Default)]
pub struct AppMetrics {
    /// Requests that have started and not ended.
    in_flight: AtomicU64,
    /// Responses by the first digit of their status.
    statuses: [AtomicU64; 6],
    codes: [AtomicU64; CODES.len()],
    cache: [AtomicU64; CACHE_RESULTS.len()],
    bytes: AtomicU64,
    /// Nanoseconds of dynos' CPU time.
    cpu: AtomicU64,
    queue: Histogram,
    service: Histogram,
    /// Metrics by dyno number. An entry without requests for a quarter of an hour is dropped, so that there are no more
    /// entries than dynos.
    dynos: RwLock<BTreeMap<u32, Arc<DynoCounters>>>,
    window: Mutex<MetricsWindow>,
    shares: AppShares,
}

/// The metrics of an app are equal only to themselves.
impl PartialEq for AppMetrics {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for AppMetrics {}

impl AppMetrics {
    /// The app's shares of the pools that all apps share.
    pub(crate) fn shares(&self) -> &AppShares {
        &self.shares
    }

    /// Counts a request as in flight, and returns the number before it.
    pub(crate) fn begin(&self) -> u64 {
        self.in_flight.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends a request that [`AppMetrics::begin`] counted.
    pub(crate) fn finish(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the requests that arrive, wait, are served or are being answered.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request that has ended.
    pub(crate) fn record(&self, entry: &RequestRecord, failure: Option<&Failure>) {
        let class = usize::from(entry.status / 100).min(self.statuses.len() - 1);
        count(&self.statuses[class], 1);
        count(&self.bytes, entry.bytes);
        count(&self.cpu, nanoseconds(entry.cpu));
        let code = failure.map_or("", Failure::code);
        if !code.is_empty() {
            count(&self.codes[position(&CODES, code)], 1);
        }
        if !NOT_SERVED.contains(&code) {
            self.service.record(entry.service);
        }
        match &entry.dyno {
            Some(dyno) => {
                self.queue.record(entry.queue);
                self.dyno_or_new(dyno.number).record(entry);
            }
            // The request spent all of its time waiting.
            None if code == "H20" => self.queue.record(entry.service),
            None => {}
        }
    }

    /// Counts a result of the cache: `hit`, `stale`, `revalidated` or `miss`; every other result counts as `bypass`.
    pub fn record_cache(&self, result: &str) {
        count(&self.cache[position(&CACHE_RESULTS, result)], 1);
    }

    /// Returns the responses by class of status, e.g. `2xx`.
    pub fn statuses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
        names.into_iter().zip(read_all(&self.statuses))
    }

    /// Returns the requests by failure code, e.g. `H12`.
    pub fn codes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CODES.into_iter().zip(read_all(&self.codes))
    }

    /// Returns the requests by result of the cache.
    pub fn cache(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CACHE_RESULTS.into_iter().zip(read_all(&self.cache))
    }

    /// Returns the bytes of response bodies.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the CPU time of dynos.
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu.load(Ordering::Relaxed))
    }

    /// Returns the times of waiting for a dyno.
    pub fn queue(&self) -> HistogramSnapshot {
        self.queue.read()
    }

    /// Returns the service times, from the dyno's start of the request to the end of the response.
    pub fn service(&self) -> HistogramSnapshot {
        self.service.read()
    }

    /// Returns the metrics of a dyno, if it has served requests lately.
    pub fn dyno(&self, number: u32) -> Option<Arc<DynoCounters>> {
        let dynos = self.dynos.read().unwrap_or_else(PoisonError::into_inner);
        dynos.get(&number).cloned()
    }

    fn dyno_or_new(&self, number: u32) -> Arc<DynoCounters> {
        if let Some(dyno) = self.dyno(number) {
            return dyno;
        }
        let mut dynos = self.dynos.write().unwrap_or_else(PoisonError::into_inner);
        dynos.entry(number).or_default().clone()
    }

    /// Summarises `period`.
    pub fn over(&self, period: SummaryPeriod) -> MetricsSummary {
        let sum = self.window().over(period, &self.sample());
        let [requests, errors, bytes, cpu, cache_hits, cache_asked] = sum.numbers;
        MetricsSummary {
            requests,
            errors,
            bytes,
            cpu: Duration::from_nanos(cpu),
            cache_hits,
            cache_asked,
            service: sum.service,
            queue: sum.queue,
        }
    }

    /// Advances the windows; call it every [`TICK`](super::TICK).
    pub(super) fn tick(&self) {
        self.window().tick(self.sample());
        let mut dynos = self.dynos.write().unwrap_or_else(PoisonError::into_inner);
        dynos.retain(|_, dyno| dyno.tick());
    }

    fn sample(&self) -> MetricsSample {
        let cache: Vec<u64> = read_all(&self.cache).collect();
        let hits: u64 = cache[..3].iter().sum();
        MetricsSample {
            service: self.service.read(),
            queue: self.queue.read(),
            numbers: [
                read_all(&self.statuses).sum(),
                self.statuses[5].load(Ordering::Relaxed),
                self.bytes(),
                self.cpu.load(Ordering::Relaxed),
                hits,
                hits + cache[3],
            ],
        }
    }

    fn window(&self) -> MutexGuard<'_, MetricsWindow> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_all(counters: &[AtomicU64]) -> impl Iterator<Item = u64> {
    counters.iter().map(|n| n.load(Ordering::Relaxed))
}

/// Returns the index of `word`, or the last one if it is unknown.
fn position(words: &[&str], word: &str) -> usize {
    let found = words.iter().position(|known| *known == word);
    found.unwrap_or(words.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(status: u16, dyno: Option<&str>) -> RequestRecord {
        RequestRecord {
            status,
            bytes: 10,
            dyno: dyno.and_then(|name| name.parse().ok()),
            service: Duration::from_millis(20),
            queue: Duration::from_millis(1),
            cpu: Duration::from_millis(5),
            ..RequestRecord::default()
        }
    }

    #[test]
    fn requests_are_counted_by_status_failure_and_dyno() {
        let metrics = AppMetrics::default();
        metrics.record(&entry(200, Some("web.2")), None);
        metrics.record(&entry(503, None), Some(&Failure::RequestTimeout));
        metrics.record(&entry(503, None), Some(&Failure::BacklogTooDeep));
        metrics.tick();
        let statuses: Vec<_> = metrics.statuses().filter(|(_, n)| *n > 0).collect();
        assert_eq!(statuses, [("2xx", 1), ("5xx", 2)]);
        let codes: Vec<_> = metrics.codes().filter(|(_, n)| *n > 0).collect();
        assert_eq!(codes, [("H11", 1), ("H12", 1)]);
        // Rejected requests have no service time.
        assert_eq!(metrics.service().count(), 2);
        assert_eq!(metrics.queue().count(), 1);
        let minute = metrics.over(SummaryPeriod::Minute);
        assert_eq!((minute.requests, minute.errors, minute.bytes), (3, 2, 30));
        assert_eq!(
            metrics
                .dyno(2)
                .unwrap()
                .over(SummaryPeriod::Minute)
                .requests,
            1
        );
        assert!(metrics.dyno(1).is_none());
    }

    #[test]
    fn queue_time_of_a_boot_timeout_is_recorded() {
        let metrics = AppMetrics::default();
        metrics.record(&entry(503, None), Some(&Failure::BootTimeout));
        let longest = metrics.queue().percentile(1.0).unwrap();
        assert!(longest > Duration::from_millis(18), "{longest:?}");
        assert_eq!(metrics.service().count(), 0);
    }

    #[test]
    fn unused_dynos_are_dropped() {
        let metrics = AppMetrics::default();
        metrics.record(&entry(200, Some("web.1")), None);
        for _ in 0..120 {
            metrics.tick();
        }
        assert!(metrics.dyno(1).is_none());
    }
}
