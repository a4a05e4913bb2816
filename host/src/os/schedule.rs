//! Sleeping and polling without blocking a thread.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use wasi_common::sched::subscription::{RwEventFlags, Subscription};
use wasi_common::snapshots::preview_1::types::Errno;
use wasi_common::{Error, Poll as Subscriptions, WasiFile, WasiSched};

use crate::console::streams::RunStream;
use crate::net::{Interest, SocketDescriptor, SocketPoll, SocketReadiness};

/// Maximum sleep in one call: a century would be a mistake, and timers have a bound.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 3600);

/// Scheduler that uses the timers and the event queue of the runtime which drives the dyno.
pub(super) struct TimerScheduler;

#[async_trait::async_trait]
impl WasiSched for TimerScheduler {
    async fn poll_oneoff<'a>(&self, poll: &mut Subscriptions<'a>) -> Result<(), Error> {
        if poll.is_empty() {
            return Ok(());
        }
        let timeout = poll
            .earliest_clock_deadline()
            .map(|clock| clock.duration_until().unwrap_or_default());
        let ready = poll_fn(|task| poll_files(poll, timeout.is_some(), task));
        match timeout {
            // A deadline that is over is a question for what is ready now.
            Some(Duration::ZERO) => {
                poll_fn(|task| {
                    let _ = poll_files(poll, true, task);
                    Poll::Ready(Ok(()))
                })
                .await
            }
            Some(timeout) => {
                let ready = tokio::time::timeout(timeout.min(LONGEST_SLEEP), ready).await;
                ready.unwrap_or(Ok(()))
            }
            None => ready.await,
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

/// Completes the subscriptions of files that are ready. Without any, the task is woken when one may be.
///
/// # Errors
///
/// `EDEADLK` if the guest would wait forever: no deadline ends the wait, and each file waits for the guest itself.
fn poll_files(
    poll: &mut Subscriptions<'_>,
    has_deadline: bool,
    task: &mut Context<'_>,
) -> Poll<Result<(), Error>> {
    let (mut any_ready, mut may_end) = (false, has_deadline);
    for subscription in poll.rw_subscriptions() {
        let (file, interest) = match subscription {
            Subscription::Read(read) => (read.file, Interest::Read),
            Subscription::Write(write) => (write.file, Interest::Write),
            Subscription::MonotonicClock(_) => continue,
        };
        let polled = match poll_file(file, interest, task) {
            Ok(SocketPoll::Ready(readiness)) => Ok(readiness),
            Ok(SocketPoll::Waiting) => {
                may_end = true;
                continue;
            }
            Ok(SocketPoll::Stuck) => continue,
            Err(error) => Err(error),
        };
        any_ready = true;
        if let Subscription::Read(subscription) | Subscription::Write(subscription) = subscription {
            match polled {
                Ok(SocketReadiness { bytes, hung_up }) => {
                    let flag = if hung_up {
                        RwEventFlags::HANGUP
                    } else {
                        RwEventFlags::empty()
                    };
                    subscription.complete(bytes, flag);
                }
                Err(error) => subscription.error(error),
            }
        }
    }
    match (any_ready, may_end) {
        (true, _) => Poll::Ready(Ok(())),
        (false, true) => Poll::Pending,
        (false, false) => Poll::Ready(Err(Errno::Deadlk.into())),
    }
}

/// Asks one file. All files but sockets and the streams of a command are in memory and thus always ready.
fn poll_file(
    file: &dyn WasiFile,
    interest: Interest,
    task: &mut Context<'_>,
) -> Result<SocketPoll, Error> {
    if let Some(socket) = file.as_any().downcast_ref::<SocketDescriptor>() {
        return Ok(socket.poll_ready(interest, task));
    }
    if let Some(stream) = file.as_any().downcast_ref::<RunStream>() {
        return Ok(match stream.poll_ready(interest == Interest::Read, task) {
            Poll::Ready(bytes) => SocketPoll::Ready(SocketReadiness {
                bytes,
                hung_up: false,
            }),
            Poll::Pending => SocketPoll::Waiting,
        });
    }
    let bytes = match interest {
        Interest::Read => file.num_ready_bytes()?,
        Interest::Write => 0,
    };
    Ok(SocketPoll::Ready(SocketReadiness {
        bytes,
        hung_up: false,
    }))
}
