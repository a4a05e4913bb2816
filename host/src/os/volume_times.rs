//! Times of nodes of a volume, as the host takes them.

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use wasi_common::SystemTimeSpec;

use super::clocks::nanoseconds;

/// Returns the times that a node of a volume gets.
pub(super) fn volume_times(
    accessed: Option<SystemTimeSpec>,
    modified: Option<SystemTimeSpec>,
) -> Timestamps {
    let time = |spec: Option<SystemTimeSpec>| match spec {
        None => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        Some(SystemTimeSpec::SymbolicNow) => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
        Some(SystemTimeSpec::Absolute(time)) => {
            let nanoseconds = nanoseconds(time.into_std());
            Timespec {
                tv_sec: nanoseconds / 1_000_000_000,
                tv_nsec: nanoseconds % 1_000_000_000,
            }
        }
    };
    Timestamps {
        last_access: time(accessed),
        last_modification: time(modified),
    }
}
