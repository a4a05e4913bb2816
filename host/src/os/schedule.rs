//! Sleeping and polling without blocking a thread.

use std::time::Duration;

use wasi_common::sched::subscription::{RwEventFlags, Subscription};
use wasi_common::{Error, ErrorExt, Poll, WasiSched};

/// Maximum sleep in one call: a century would be a mistake, and timers have a bound.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 3600);

/// Scheduler that uses the timers of the runtime which drives the dyno.
pub(super) struct TimerScheduler;

#[async_trait::async_trait]
impl WasiSched for TimerScheduler {
    async fn poll_oneoff<'a>(&self, poll: &mut Poll<'a>) -> Result<(), Error> {
        if poll.is_empty() {
            return Ok(());
        }
        let timeout = poll
            .earliest_clock_deadline()
            .map(|clock| clock.duration_until().unwrap_or_default());
        // All files are in memory and thus always ready.
        let mut ready = false;
        for subscription in poll.rw_subscriptions() {
            match subscription {
                Subscription::Read(read) => {
                    match read.file.num_ready_bytes() {
                        Ok(bytes) => read.complete(bytes, RwEventFlags::empty()),
                        Err(error) => read.error(error),
                    }
                    ready = true;
                }
                Subscription::Write(write) => {
                    write.complete(0, RwEventFlags::empty());
                    ready = true;
                }
                Subscription::MonotonicClock(_) => {}
            }
        }
        match timeout {
            _ if ready => Ok(()),
            Some(timeout) => self.sleep(timeout).await,
            None => Err(Error::invalid_argument()),
        }
    }

    async fn sched_yield(&self) -> Result<(), Error> {
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn sleep(&self, duration: Duration) -> Result<(), Error> {
        tokio::time::sleep(duration.min(LONGEST_SLEEP)).await;
        Ok(())
    }
}
