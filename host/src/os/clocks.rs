//! The host's clocks, so that a dyno that was created from an old image sees the current time.

use std::time::Duration;

use cap_std::time::{Instant, SystemTime};
use rustix::time::{ClockId, clock_gettime};
use wasi_common::WasiClocks;
use wasi_common::clocks::{WasiMonotonicClock, WasiMonotonicOffsetClock, WasiSystemClock};

/// Returns `CLOCK_MONOTONIC` in nanoseconds. Guests see the same clock, so that its time continues from the boot of
/// their image instead of restarting at zero.
pub(crate) fn monotonic_now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Returns the time in nanoseconds since 1970.
pub(super) fn wall_now() -> i64 {
    nanoseconds(std::time::SystemTime::now())
}

/// Converts a time to nanoseconds since 1970.
pub(super) fn nanoseconds(time: std::time::SystemTime) -> i64 {
    let since = time.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

/// Converts nanoseconds since 1970 to a time. Times before are 1970.
pub(super) fn system_time(nanoseconds: i64) -> std::time::SystemTime {
    let since = u64::try_from(nanoseconds).unwrap_or(0);
    std::time::UNIX_EPOCH + Duration::from_nanos(since)
}

struct WallClock;

impl WasiSystemClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self, _precision: Duration) -> SystemTime {
        SystemTime::from_std(std::time::SystemTime::now())
    }
}

struct MonotonicClock;

impl WasiMonotonicClock for MonotonicClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self, _precision: Duration) -> Instant {
        Instant::from_std(std::time::Instant::now())
    }
}

pub(super) fn clocks() -> WasiClocks {
    let mut clocks = WasiClocks::new().with_system(WallClock);
    let now = std::time::Instant::now();
    let start = now
        .checked_sub(Duration::from_nanos(monotonic_now()))
        .unwrap_or(now);
    clocks.monotonic = Some(WasiMonotonicOffsetClock {
        creation_time: Instant::from_std(start),
        abs_clock: Box::new(MonotonicClock),
    });
    clocks
}
