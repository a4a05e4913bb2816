//! Sliding windows over counters that only grow: six deltas of ten seconds, then one delta for each minute. Counting
//! itself is independent of time.

use std::collections::VecDeque;
use std::time::Duration;

use super::histogram::{HistogramSnapshot, SparseHistogram};

/// Interval between two calls of [`MetricsRegistry::tick`](super::MetricsRegistry::tick).
pub const TICK: Duration = Duration::from_secs(10);
/// Ticks that keep a delta of their own: one minute.
const RECENT: usize = 6;
/// Minutes that are kept.
const MINUTES: usize = 15;

/// Counters beside the histograms.
pub(super) const NUMBERS: usize = 6;

/// A period that ends now. It may be up to a tick or a minute longer than its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SummaryPeriod {
    /// Ten seconds.
    Tick,
    /// One minute.
    Minute,
    /// Five minutes.
    FiveMinutes,
    /// Fifteen minutes.
    QuarterHour,
}

impl SummaryPeriod {
    /// The periods that listings show.
    pub const SHOWN: [Self; 3] = [Self::Minute, Self::FiveMinutes, Self::QuarterHour];

    /// Returns the period's name in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tick => "10s",
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::QuarterHour => "15m",
        }
    }
}

/// Counters at one time or over a period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MetricsSample {
    pub(super) service: HistogramSnapshot,
    pub(super) queue: HistogramSnapshot,
    pub(super) numbers: [u64; NUMBERS],
}

impl MetricsSample {
    fn since(&self, earlier: &Self) -> SampleDelta {
        let grown = |index: usize| self.numbers[index].saturating_sub(earlier.numbers[index]);
        SampleDelta {
            service: self.service.since(&earlier.service),
            queue: self.queue.since(&earlier.queue),
            numbers: std::array::from_fn(grown),
        }
    }

    fn add(&mut self, more: &SampleDelta) {
        if more.numbers == [0; NUMBERS] {
            return;
        }
        self.service.add(&more.service);
        self.queue.add(&more.queue);
        for (number, more) in self.numbers.iter_mut().zip(more.numbers) {
            *number += more;
        }
    }
}

#[derive(Debug, Clone, Default)]
struct SampleDelta {
    service: SparseHistogram,
    queue: SparseHistogram,
    numbers: [u64; NUMBERS],
}

/// The last quarter of an hour.
#[derive(Debug, Default)]
pub(super) struct MetricsWindow {
    /// Counters at the last tick.
    last: MetricsSample,
    recent: VecDeque<SampleDelta>,
    /// The current minute's ticks that are no longer recent.
    minute: Vec<SampleDelta>,
    minutes: VecDeque<SampleDelta>,
}

impl MetricsWindow {
    /// Stores the delta since the last call, which was one [`TICK`] ago.
    pub(super) fn tick(&mut self, now: MetricsSample) {
        self.recent.push_back(now.since(&self.last));
        self.last = now;
        if self.recent.len() <= RECENT {
            return;
        }
        self.minute.extend(self.recent.pop_front());
        if self.minute.len() < RECENT {
            return;
        }
        let mut whole = MetricsSample::default();
        self.minute.drain(..).for_each(|delta| whole.add(&delta));
        self.minutes
            .push_back(whole.since(&MetricsSample::default()));
        if self.minutes.len() > MINUTES {
            self.minutes.pop_front();
        }
    }

    /// Summarises `period`; `now` has the current counters.
    pub(super) fn over(&self, period: SummaryPeriod, now: &MetricsSample) -> MetricsSample {
        let (recent, minutes) = match period {
            SummaryPeriod::Tick => (1, 0),
            SummaryPeriod::Minute => (RECENT, 0),
            SummaryPeriod::FiveMinutes => (RECENT, 4),
            SummaryPeriod::QuarterHour => (RECENT, 14),
        };
        let mut sum = MetricsSample::default();
        sum.add(&now.since(&self.last));
        self.recent
            .iter()
            .rev()
            .take(recent)
            .for_each(|d| sum.add(d));
        if minutes > 0 {
            self.minute.iter().for_each(|delta| sum.add(delta));
            let older = self.minutes.iter().rev().take(minutes);
            older.for_each(|delta| sum.add(delta));
        }
        sum
    }

    /// Returns whether nothing was counted within the whole window.
    pub(super) fn is_empty(&self) -> bool {
        let mut all = self.recent.iter().chain(&self.minute).chain(&self.minutes);
        all.all(|delta| delta.numbers == [0; NUMBERS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(requests: u64) -> MetricsSample {
        let mut numbers = [0; NUMBERS];
        numbers[0] = requests;
        MetricsSample {
            numbers,
            ..MetricsSample::default()
        }
    }

    #[test]
    fn periods_end_now_and_exclude_older_requests() {
        let mut window = MetricsWindow::default();
        // One request a tick, for an hour.
        for tick in 1..=360 {
            window.tick(counted(tick));
        }
        let over = |period| window.over(period, &counted(365)).numbers[0];
        assert_eq!(over(SummaryPeriod::Tick), 1 + 5);
        assert_eq!(over(SummaryPeriod::Minute), 6 + 5);
        assert!((30..=36 + 5).contains(&over(SummaryPeriod::FiveMinutes)));
        assert!((90..=96 + 5).contains(&over(SummaryPeriod::QuarterHour)));
        assert!(window.minutes.len() <= MINUTES);
    }

    #[test]
    fn window_without_requests_becomes_empty() {
        let mut window = MetricsWindow::default();
        window.tick(counted(1));
        for _ in 0..120 {
            assert!(window.over(SummaryPeriod::Minute, &counted(1)).numbers[0] <= 1);
            window.tick(counted(1));
        }
        assert!(window.is_empty());
    }
}
