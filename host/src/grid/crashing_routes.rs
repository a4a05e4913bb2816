//! Requests that crash dynos, by route: crashes of one route cost that route, and no other.
//!
//! A route is a method with a path and a query. An attacker may vary the query; each variant then has a budget of its
//! own, its dynos start and run at the priority of computing dynos, and visitors of other routes are served.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use corundum_abi::scgi::RequestHead;

use super::breaker::Breaker;

/// Crashes in a row that close a route. A single crash proves little: a request that crashes its dyno is rarely all of
/// a route's traffic, and successful requests in between reset the count.
const CRASHES: u32 = 10;
/// Routes whose crashes an app remembers, about 5 KiB. The one that crashed longest ago makes room for another.
const ROUTES: usize = 64;
/// Time without a crash after which a route is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// Characters of a path in a log line.
const LABEL: usize = 200;

/// A route of an app, as a number that clients cannot predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route(u64);

impl Route {
    /// Returns the route of a request.
    pub(super) fn of(head: &RequestHead) -> Self {
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let mut hasher = KEYS.build_hasher();
        for key in [&b"REQUEST_METHOD"[..], b"PATH_INFO", b"QUERY_STRING"] {
            hasher.write(head.value(key).unwrap_or_default());
            hasher.write_u8(0);
        }
        Self(hasher.finish())
    }
}

/// Method and path of a request for a log line. The query is left out, since it may contain secrets.
pub(super) struct RouteLabel<'a>(pub(super) &'a RequestHead);

impl fmt::Display for RouteLabel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |key| String::from_utf8_lossy(self.0.value(key).unwrap_or_default());
        let path = value(b"PATH_INFO");
        let shown = path.chars().take(LABEL).flat_map(char::escape_debug);
        write!(
            f,
            "{} {}",
            value(b"REQUEST_METHOD"),
            shown.collect::<String>()
        )
    }
}

/// The routes of one app that crash dynos.
#[derive(Debug, Default)]
pub(super) struct CrashingRoutes {
    /// Routes with a crash since their last success, the one that crashed last at the end.
    routes: Vec<CrashingRoute>,
}

#[derive(Debug)]
struct CrashingRoute {
    route: Route,
    breaker: Breaker,
    crashed: Instant,
}

impl CrashingRoutes {
    fn position(&self, route: Route) -> Option<usize> {
        self.routes.iter().position(|known| known.route == route)
    }

    /// Lets a request of `route` pass, or returns the time until the next attempt.
    pub(super) fn try_pass(&mut self, route: Route, now: Instant) -> Result<(), Duration> {
        match self.position(route) {
            Some(index) => self.routes[index].breaker.try_pass(now),
            None => Ok(()),
        }
    }

    /// Records that a request of `route` has crashed its dyno. Returns the pause if this has opened the circuit of the
    /// route.
    pub(super) fn record_crash(&mut self, route: Route, now: Instant) -> Option<Duration> {
        let mut crashing = match self.position(route) {
            Some(index) => self.routes.remove(index),
            None => CrashingRoute {
                route,
                breaker: Breaker::new(CRASHES),
                crashed: now,
            },
        };
        if self.routes.len() >= ROUTES {
            self.routes.remove(0);
        }
        crashing.crashed = now;
        let pause = crashing.breaker.record_failure(now);
        self.routes.push(crashing);
        pause
    }

    /// Records that a request of `route` was answered, and forgets routes that have not crashed for long. Returns whether
    /// this has closed the circuit of the route.
    pub(super) fn record_success(&mut self, route: Route, now: Instant) -> bool {
        let was_open = self.position(route).is_some_and(|index| {
            let mut crashing = self.routes.remove(index);
            crashing.breaker.record_success()
        });
        self.routes
            .retain(|known| now.saturating_duration_since(known.crashed) < FORGOTTEN);
        was_open
    }

    /// Returns the crashes of all routes since the last success of each.
    pub(super) fn crashes(&self) -> u32 {
        let crashes = self.routes.iter().map(|route| route.breaker.failures());
        crashes.fold(0, u32::saturating_add)
    }

    /// Returns whether the circuit of any route is open.
    pub(super) fn is_any_open(&self) -> bool {
        self.routes.iter().any(|route| route.breaker.is_open())
    }
}

#[cfg(test)]
mod tests {
    use corundum_abi::scgi::RequestHeadWriter;

    use super::*;

    fn head(method: &str, path: &str, query: &str) -> RequestHead {
        let mut head = RequestHeadWriter::new(Vec::new(), Some(0));
        head.pair(b"REQUEST_METHOD", method.as_bytes());
        head.pair(b"PATH_INFO", path.as_bytes());
        head.pair(b"QUERY_STRING", query.as_bytes());
        head.finish()
    }

    #[test]
    fn routes_differ_by_method_path_and_query() {
        let heads = [
            head("GET", "/a", ""),
            head("POST", "/a", ""),
            head("GET", "/b", ""),
            head("GET", "/", "a"),
            head("GET", "/a", "x=1"),
        ];
        for (index, one) in heads.iter().enumerate() {
            for (other_index, other) in heads.iter().enumerate() {
                assert_eq!(Route::of(one) == Route::of(other), index == other_index);
            }
        }
    }

    #[test]
    fn crashes_of_one_route_leave_other_routes_open() {
        let (mut routes, now) = (CrashingRoutes::default(), Instant::now());
        let (bad, good) = (Route(1), Route(2));
        let opened = (0..1000).filter(|_| routes.record_crash(bad, now).is_some());
        assert_eq!(opened.count(), 1);
        assert!(routes.try_pass(bad, now).is_err());
        assert!(routes.try_pass(good, now).is_ok());
        assert!(!routes.record_success(good, now), "another route");
        assert!(routes.try_pass(bad, now).is_err());
        assert!(routes.record_success(bad, now) && !routes.is_any_open());
        assert!(routes.try_pass(bad, now).is_ok());
    }

    #[test]
    fn remembered_routes_are_bounded_and_forgotten() {
        let (mut routes, now) = (CrashingRoutes::default(), Instant::now());
        for number in 0..100_000 {
            routes.record_crash(Route(number), now);
            assert!(routes.routes.len() <= ROUTES);
        }
        assert_eq!(routes.crashes(), ROUTES as u32);
        assert!(!routes.is_any_open(), "each crashed once");
        routes.record_success(Route(0), now + FORGOTTEN);
        assert_eq!(routes.crashes(), 0);
    }

    #[test]
    fn label_contains_no_query_and_no_control_bytes() {
        let head = head(
            "GET",
            &format!("/a\n\x1b{}", "x".repeat(1000)),
            "token=secret",
        );
        let label = RouteLabel(&head).to_string();
        assert!(label.starts_with("GET /a\\n\\u{1b}xxx"), "{label}");
        assert!(label.len() < 300 && !label.contains("secret"));
        assert!(!label.contains(char::is_control));
    }
}
