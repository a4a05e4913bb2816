//! Circuit breaking: an app whose dynos only crash is not tried for every request, since each attempt costs the node a
//! start. It is tried again now and then, ever more seldom, and as soon as one attempt succeeds it is served as before.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// Failures in a row that open the circuit. One is no proof, and a request that kills its dyno is not the app's whole
/// traffic: between two of them others are answered, mostly.
const FAILURES: u32 = 10;
/// A dyno that does not even start counts as so many.
const START: u32 = 2;
/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause: an app that works again is noticed within that time. A deploy or a restart does not wait for it.
const LONGEST: Duration = Duration::from_secs(60);
/// How long one attempt is waited for before another is made beside it.
const ATTEMPT: Duration = Duration::from_secs(5);

/// What went wrong with a dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    /// It did not start.
    Start,
    /// It ended before it had answered.
    Request,
}

/// Whether an app's requests are let through.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Failures since the last success.
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// Nothing is tried before.
    until: Instant,
    /// Times that it was opened in a row.
    times: u32,
    /// Whether an attempt is being made.
    trying: bool,
}

impl Breaker {
    /// Lets a request through, or says how long none is.
    pub(super) fn ask(&mut self, now: Instant) -> Result<(), Duration> {
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

    /// Notes a crash; how long nothing is tried now, if this was what opened the circuit.
    pub(super) fn crashed(&mut self, crash: Crash, now: Instant) -> Option<Duration> {
        self.failures += match crash {
            Crash::Start => START,
            Crash::Request => 1,
        };
        let times = match &self.open {
            None if self.failures < FAILURES => return None,
            None => 0,
            // Of a request that was let through before.
            Some(open) if !open.trying => return None,
            Some(open) => open.times,
        };
        let pause = jittered(FIRST.saturating_mul(1 << times.min(10)).min(LONGEST));
        self.open = Some(Open {
            until: now + pause,
            times: times + 1,
            trying: false,
        });
        Some(pause)
    }

    /// Notes a success; whether it has closed the circuit.
    pub(super) fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.open.take().is_some()
    }

    /// Whether requests are refused.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether there has been a crash since the last success.
    pub(super) fn is_troubled(&self) -> bool {
        self.failures > 0
    }
}

/// Three quarters to five quarters of it: apps that fell together are not all tried at once.
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
            assert_eq!(breaker.crashed(Crash::Request, now), None);
        }
        assert!(breaker.crashed(Crash::Request, now).is_some());
        breaker
    }

    #[test]
    fn a_success_between_crashes_keeps_it_closed() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..100 {
            assert_eq!(breaker.crashed(Crash::Start, now), None);
            assert!(!breaker.succeeded());
            assert!(breaker.ask(now).is_ok());
        }
    }

    #[test]
    fn pauses_grow_to_their_limit_and_one_request_is_let_through_after_each() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut before = Duration::ZERO;
        for round in 0..12 {
            let left = breaker.ask(now).unwrap_err();
            assert!(left <= LONGEST.mul_f64(1.25) && left >= FIRST.mul_f64(0.75));
            assert!(round > 5 || left > before, "{round}: {left:?}");
            before = left;
            now += left;
            assert!(breaker.ask(now).is_ok());
            assert!(breaker.ask(now).is_err(), "one at a time");
            assert!(breaker.crashed(Crash::Request, now).is_some());
        }
        now += LONGEST * 2;
        assert!(breaker.ask(now).is_ok());
        assert!(breaker.succeeded() && !breaker.is_open());
        assert!(breaker.ask(now).is_ok());
    }

    #[test]
    fn crashes_of_earlier_requests_do_not_lengthen_the_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let left = breaker.ask(now).unwrap_err();
        assert_eq!(breaker.crashed(Crash::Request, now), None);
        assert_eq!(breaker.ask(now).unwrap_err(), left);
    }

    #[test]
    fn an_attempt_that_is_given_up_is_followed_by_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + LONGEST * 2;
        assert!(breaker.ask(later).is_ok());
        assert!(breaker.ask(later + ATTEMPT).is_ok());
    }
}
