//! One request to a dyno, its response, and the times at which bytes moved.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use corundum_abi::cgi::ResponseHead;
use corundum_abi::scgi::RequestHead;
use corundum_exchange::{DynoBody, RequestBody};

use crate::os::monotonic_now;

/// A request for a dyno: its head, and a body that is streamed into the guest.
#[derive(Debug)]
pub struct DynoRequest {
    /// The SCGI head.
    pub head: RequestHead,
    /// The body.
    pub body: RequestBody,
}

/// A dyno's response.
#[derive(Debug)]
pub struct DynoResponse {
    /// Status and headers.
    pub head: ResponseHead,
    /// The body.
    pub body: DynoBody,
}

/// The times at which a request reached certain points, for the code that enforces its deadlines.
///
/// Times are nanoseconds of the monotonic clock; 0 means that the point has not been reached.
#[derive(Debug, Default)]
pub struct RequestProgress {
    request_read: AtomicU64,
    answered: AtomicU64,
    moved: AtomicU64,
    /// True once the guest has taken the client's connection over.
    is_upgraded: AtomicBool,
}

impl RequestProgress {
    /// Returns the time at which the guest had received the whole request.
    pub(crate) fn request_read(&self) -> Option<u64> {
        Some(self.request_read.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Returns the time at which the head of the response left the guest.
    pub(crate) fn answered(&self) -> Option<u64> {
        Some(self.answered.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Returns the time at which bytes last went in or out. The start of the request counts.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Returns the time since bytes last went in or out, or `None` before the first.
    pub(crate) fn since_moved(&self) -> Option<Duration> {
        let moved = self.moved();
        (moved > 0).then(|| Duration::from_nanos(monotonic_now().saturating_sub(moved)))
    }

    /// Returns whether the guest has taken the client's connection over.
    pub(crate) fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Ordering::Relaxed)
    }

    /// Records that the guest has taken the client's connection over.
    pub(crate) fn record_upgraded(&self) {
        self.is_upgraded.store(true, Ordering::Relaxed);
    }

    /// Records that bytes moved, but that the request is not yet complete.
    pub(crate) fn record_moved(&self) {
        self.moved.store(monotonic_now(), Ordering::Relaxed);
    }

    /// Records that the guest has the whole request. Later calls keep the first time.
    pub(crate) fn record_request_read(&self) {
        self.record_first(&self.request_read);
    }

    /// Records that the response has begun. Later calls keep the first time.
    pub(crate) fn record_answered(&self) {
        self.record_first(&self.answered);
    }

    fn record_first(&self, point: &AtomicU64) {
        let now = monotonic_now();
        self.moved.store(now, Ordering::Relaxed);
        let _ = point.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }
}
