//! Circuit breaking: the grid stops starting dynos of an app whose dynos only crash, because each start costs the node
//! work. It tries again after pauses that grow, and one successful attempt closes the circuit.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// Failures in a row that open the circuit. A single failure proves little: a request that crashes its dyno is rarely
/// all of an app's traffic, and successful requests in between reset the count.
const FAILURES: u32 = 10;
/// Failures that a dyno counts as which does not even start.
const START_FAILURES: u32 = 2;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, within which the grid notices that an app works again. A deploy or a restart does not wait for
/// it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Time after which another attempt is made beside one that has not ended.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The failure of a dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    /// The dyno did not start.
    Start,
    /// The dyno ended before it had answered.
    Request,
}

/// The circuit breaker of one app.
#[derive(Debug, Default)]
pub(super) struct Breaker {
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
    /// Lets a request pass, or returns the time until the next attempt.
    pub(super) fn try_pass(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let left = open.until.saturating_duration_since(now);
        if !left.is_zero() {
            return Err(left);
        }
        open.trying = true;
        open.until = now + ATTEMPT;
        Ok(())
    }

    /// Records a crash. Returns the pause if the crash has opened the circuit.
    pub(super) fn record_crash(&mut self, crash: Crash, now: Instant) -> Option<Duration> {
        self.failures += match crash {
            Crash::Start => START_FAILURES,
            Crash::Request => 1,
        };
        let times = match &self.open {
            None if self.failures < FAILURES => return None,
            None => 0,
            // The crashed request had passed before the circuit opened.
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

    /// Returns whether a dyno has crashed since the last success.
    pub(super) fn has_failures(&self) -> bool {
        self.failures > 0
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
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert_eq!(breaker.record_crash(Crash::Request, now), None);
        }
        assert!(breaker.record_crash(Crash::Request, now).is_some());
        breaker
    }

    #[test]
    fn success_between_crashes_keeps_the_circuit_closed() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..100 {
            assert_eq!(breaker.record_crash(Crash::Start, now), None);
            assert!(!breaker.record_success());
            assert!(breaker.try_pass(now).is_ok());
        }
    }

    #[test]
    fn pauses_grow_to_their_limit_and_one_request_passes_after_each() {
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
            assert!(breaker.record_crash(Crash::Request, now).is_some());
        }
        now += LONGEST_PAUSE * 2;
        assert!(breaker.try_pass(now).is_ok());
        assert!(breaker.record_success() && !breaker.is_open());
        assert!(breaker.try_pass(now).is_ok());
    }

    #[test]
    fn crashes_of_earlier_requests_do_not_lengthen_the_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let left = breaker.try_pass(now).unwrap_err();
        assert_eq!(breaker.record_crash(Crash::Request, now), None);
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
