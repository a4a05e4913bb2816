//! Waiting: a guest's sleep or poll holds no thread.

use std::time::Duration;

use wasi_common::sched::subscription::{RwEventFlags, Subscription};
use wasi_common::{Error, ErrorExt, Poll, WasiSched};

/// A guest cannot sleep longer in one call: a century is a mistake, and timers have a bound.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 3600);

/// Timers of the runtime that drives the dyno.
pub(super) struct Timers;

#[async_trait::async_trait]
impl WasiSched for Timers {
    async fn poll_oneoff<'a>(&self, poll: &mut Poll<'a>) -> Result<(), Error> {
        if poll.is_empty() {
            return Ok(());
        }
        let timeout = poll
            .earliest_clock_deadline()
            .map(|clock| clock.duration_until().unwrap_or_default());
        // Files of this system are always ready: they are memory.
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
