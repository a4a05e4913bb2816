//! What passes between a dyno and the outside: descriptor 0 in, descriptor 1 out.
//!
//! Output is gathered and goes out in one piece when the request is served, unless the guest starts to wait, uses up
//! its time slice or writes much: then what there is goes out at once, and the rest follows through a short channel.
//! So a small response costs one hand-over, a stream is never held back, and a slow client slows the guest down
//! instead of filling the node's memory.

mod input;
mod output;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use corundum_abi::cgi::ResponseHead;
use corundum_abi::scgi::RequestHead;
use corundum_exchange::{DynoBody, RequestBody};

use crate::os::monotonic_now;

pub(crate) use input::Input;
pub use output::OutputError;
pub(crate) use output::{Output, SampleOutput};

/// One request: its head, and a body that is streamed into the guest.
pub struct Request {
    /// The SCGI head.
    pub head: RequestHead,
    /// The body.
    pub body: RequestBody,
}

/// One response.
#[derive(Debug)]
pub struct Response {
    /// Status and headers.
    pub head: ResponseHead,
    /// The body.
    pub body: DynoBody,
}

/// When things happened in an exchange, for whoever watches its deadlines. Nanoseconds of the monotonic clock; 0
/// means not yet.
#[derive(Debug, Default)]
pub struct Progress {
    request_read: AtomicU64,
    answered: AtomicU64,
    moved: AtomicU64,
}

impl Progress {
    /// When the guest had the whole request.
    pub fn request_read(&self) -> Option<u64> {
        Some(self.request_read.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// When the response's first byte went out.
    pub fn answered(&self) -> Option<u64> {
        Some(self.answered.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// When bytes last went in or out, the beginning of the exchange included.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// How long ago bytes last went in or out; none if none did.
    pub(crate) fn since_moved(&self) -> Option<Duration> {
        let moved = self.moved();
        (moved > 0).then(|| Duration::from_nanos(monotonic_now().saturating_sub(moved)))
    }

    fn mark(&self, what: &AtomicU64) {
        let now = monotonic_now();
        self.moved.store(now, Ordering::Relaxed);
        let _ = what.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }
}
