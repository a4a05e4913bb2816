//! Histograms of durations, with eight buckets for each power of two of microseconds, so that a value read from one is
//! off by at most 6 %.
//!
//! Counting is one addition to each of two words, without a lock; the size is fixed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets for each power of two, as an exponent.
const PRECISION_BITS: u32 = 3;
/// Exponent of the longest duration in microseconds (four and a half minutes); longer ones count as that long. The
/// router's timeouts end every request before.
const MAX_EXPONENT: u32 = 28;
/// Buckets of a histogram.
const BUCKETS: usize = ((MAX_EXPONENT - PRECISION_BITS + 1) << PRECISION_BITS) as usize;

// A bucket's number is a byte in `SparseHistogram`.
const _: () = assert!(BUCKETS <= 256);

/// A histogram that is being filled.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: [AtomicU64; BUCKETS],
    /// Sum in microseconds.
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            sum: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub(super) fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// Returns the current counts.
    pub(super) fn read(&self) -> HistogramSnapshot {
        let counts = self.counts.iter().map(|n| n.load(Ordering::Relaxed));
        HistogramSnapshot {
            counts: counts.collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// Counts of a histogram at one time or over a period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Counts by bucket; empty if nothing was counted.
    counts: Vec<u64>,
    sum: u64,
}

impl HistogramSnapshot {
    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum)
    }

    /// Returns the duration that `share` of all (0 to 1) do not exceed, or `None` if nothing was counted.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|n| {
            seen += n;
            seen >= rank
        });
        // The middle of a bucket is off by at most half of its width.
        found.map(|index| Duration::from_micros((lower_bound(index) + lower_bound(index + 1)) / 2))
    }

    /// Returns, for each power of two of microseconds from `first` to `last`, the number of durations below it. The
    /// numbers are exact, since buckets end at powers of two.
    pub fn cumulative(&self, first: u32, last: u32) -> impl Iterator<Item = (Duration, u64)> {
        (first..=last).map(|power| {
            let bound = 1 << power;
            let below = self.counts.iter().take(bucket(bound)).sum();
            (Duration::from_micros(bound), below)
        })
    }

    /// Returns the counts since `earlier`, without zeros.
    pub(super) fn since(&self, earlier: &Self) -> SparseHistogram {
        let before = earlier.counts.iter().copied().chain(std::iter::repeat(0));
        let grown = self.counts.iter().zip(before).enumerate();
        let grown = grown.filter(|(_, (now, before))| *now != before);
        SparseHistogram {
            counts: grown
                .map(|(index, (now, before))| (index as u8, now.saturating_sub(before) as u32))
                .collect(),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }

    pub(super) fn add(&mut self, more: &SparseHistogram) {
        self.counts.resize(BUCKETS, 0);
        for (index, count) in &more.counts {
            self.counts[usize::from(*index)] += u64::from(*count);
        }
        self.sum += more.sum;
    }
}

/// Counts of a short period. Most buckets are empty then, and in an unused app all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SparseHistogram {
    counts: Vec<(u8, u32)>,
    sum: u64,
}

/// Returns the bucket of a duration.
fn bucket(micros: u64) -> usize {
    let micros = micros.min((1 << MAX_EXPONENT) - 1);
    let exponent = 63 - (micros | 1).leading_zeros();
    if exponent < PRECISION_BITS {
        return micros as usize;
    }
    let shift = exponent - PRECISION_BITS;
    (u64::from(shift) << PRECISION_BITS) as usize + (micros >> shift) as usize
}

/// Returns the shortest duration of a bucket.
fn lower_bound(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 << PRECISION_BITS {
        return index;
    }
    let shift = (index >> PRECISION_BITS) - 1;
    (index - (shift << PRECISION_BITS)) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous() {
        for index in 0..BUCKETS {
            let (first, next) = (lower_bound(index), lower_bound(index + 1));
            assert!(first < next, "{index}");
            assert_eq!((bucket(first), bucket(next - 1)), (index, index));
            assert!(first < 16 || (next - first) * 8 <= first, "{index}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_accurate_to_six_percent() {
        let histogram = Histogram::default();
        for micros in 1..=100_000 {
            histogram.record(Duration::from_micros(micros));
        }
        let all = histogram.read();
        assert_eq!(all.count(), 100_000);
        for (share, exact) in [(0.5, 50_000.0), (0.95, 95_000.0), (0.99, 99_000.0)] {
            let found = all.percentile(share).unwrap().as_micros() as f64;
            assert!((found / exact - 1.0).abs() < 0.0625, "{share}: {found}");
        }
        assert_eq!(HistogramSnapshot::default().percentile(0.5), None);
    }

    #[test]
    fn cumulative_counts_are_exact() {
        let histogram = Histogram::default();
        for micros in [0, 255, 256, 1 << 20, 1 << 40] {
            histogram.record(Duration::from_micros(micros));
        }
        let counts: Vec<u64> = histogram.read().cumulative(8, 21).map(|(_, n)| n).collect();
        assert_eq!((counts[0], counts[1]), (2, 3));
        assert_eq!((counts[12], counts[13]), (3, 4));
    }

    #[test]
    fn counts_since_a_snapshot_add_up() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_millis(1));
        let before = histogram.read();
        histogram.record(Duration::from_millis(9));
        let grown = histogram.read().since(&before);
        assert_eq!(grown.counts.len(), 1);
        let mut again = before.clone();
        again.add(&grown);
        assert_eq!(again, histogram.read());
    }
}
