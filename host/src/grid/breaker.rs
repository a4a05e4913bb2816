//! Circuit breaking: the grid stops a kind of work that only fails, because each attempt costs the node work. It tries
//! again after pauses that grow, and one successful attempt closes the circuit.
//!
//! An app has one breaker for starts of dynos, and one for each of the routes whose requests crash dynos
//! ([`crashing_routes`](super::crashing_routes)). A crash of a started dyno never counts as a failed start: one client
//! that knows a request which crashes a dyno would otherwise take the app from all visitors.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, within which the grid notices that an app works again. A deploy or a restart does not wait for
/// it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Time after which another attempt is made beside one that has not ended.
const ATTEMPT: Duration = Duration::from_secs(5);

/// A circuit breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Failures in a row that open the circuit.
    limit: u32,
    /// Failures since the last success.
    failures: u32,
    open: Option<OpenCircuit>,
}

#[derive(Debug)]
struct OpenCircuit {
    /// Time of the next attempt.
    until: Instant,
    /// Times that the circuit was opened in a row.
    times: u32,
    /// True while an attempt is under way.
    trying: bool,
}

impl Breaker {
    /// Creates a closed circuit that `limit` failures in a row open.
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            failures: 0,
            open: None,
        }
    }

    /// Returns the time until the next attempt; zero if an attempt may be made now.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        self.open.as_ref().map_or(Duration::ZERO, |open| {
            open.until.saturating_duration_since(now)
        })
    }

    /// Lets an attempt pass, or returns the time until the next one.
    pub(super) fn try_pass(&mut self, now: Instant) -> Result<(), Duration> {
        let left = self.pause(now);
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        if !left.is_zero() {
            return Err(left);
        }
        open.trying = true;
        open.until = now + ATTEMPT;
        Ok(())
    }

    /// Records a failure. Returns the pause if the failure has opened the circuit.
    pub(super) fn record_failure(&mut self, now: Instant) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        let times = match &self.open {
            None if self.failures < self.limit => return None,
            None => 0,
            // The failed attempt had passed before the circuit opened.
            Some(open) if !open.trying => return None,
            Some(open) => open.times,
        };
        let pause = jittered(
            FIRST_PAUSE
                .saturating_mul(1 << times.min(10))
                .min(LONGEST_PAUSE),
        );
        self.open = Some(OpenCircuit {
            until: now + pause,
            times: times + 1,
            trying: false,
        });
        Some(pause)
    }

    /// Records a success. Returns whether it has closed the circuit.
    pub(super) fn record_success(&mut self) -> bool {
        self.failures = 0;
        self.open.take().is_some()
    }

    /// Returns whether the circuit is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Returns the failures since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

/// Returns 75 % to 125 % of `pause`, so that apps which failed together are not all tried at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    pause.mul_f64(0.75 + (random % 1000) as f64 / 2000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(10);
        for _ in 1..10 {
            assert_eq!(breaker.record_failure(now), None);
        }
        assert!(breaker.record_failure(now).is_some());
        breaker
    }

    #[test]
    fn success_between_failures_keeps_the_circuit_closed() {
        let mut breaker = Breaker::new(2);
        let now = Instant::now();
        for _ in 0..100 {
            assert_eq!(breaker.record_failure(now), None);
            assert!(!breaker.record_success());
            assert!(breaker.try_pass(now).is_ok());
        }
    }

    #[test]
    fn pauses_grow_to_their_limit_and_one_attempt_passes_after_each() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut before = Duration::ZERO;
        for round in 0..12 {
            let left = breaker.try_pass(now).unwrap_err();
            assert!(left <= LONGEST_PAUSE.mul_f64(1.25) && left >= FIRST_PAUSE.mul_f64(0.75));
            assert!(round > 5 || left > before, "{round}: {left:?}");
            before = left;
            now += left;
            assert!(breaker.try_pass(now).is_ok());
            assert!(breaker.try_pass(now).is_err(), "one at a time");
            assert!(breaker.record_failure(now).is_some());
        }
        now += LONGEST_PAUSE * 2;
        assert!(breaker.try_pass(now).is_ok());
        assert!(breaker.record_success() && !breaker.is_open());
        assert!(breaker.try_pass(now).is_ok());
    }

    #[test]
    fn failures_of_earlier_attempts_do_not_lengthen_the_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let left = breaker.try_pass(now).unwrap_err();
        assert_eq!(breaker.record_failure(now), None);
        assert_eq!(breaker.try_pass(now).unwrap_err(), left);
    }

    #[test]
    fn unfinished_attempt_is_followed_by_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + LONGEST_PAUSE * 2;
        assert!(breaker.try_pass(later).is_ok());
        assert!(breaker.try_pass(later + ATTEMPT).is_ok());
    }
}
