//! A request's way through the grid: a dyno is found, the request handed over, the deadlines watched.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use corundum_abi::cgi::ResponseHeadError;
use corundum_abi::names::{AppName, DynoName, ReleaseVersion};
use corundum_exchange::RequestUsage;
use tokio::sync::oneshot;

use super::app::{Acquire, App};
use super::breaker::Crash;
use super::lease::Lease;
use super::start::{self, NotStarted};
use super::{Grid, Limits, Shared};
use crate::dyno::{Exit, Failure};
use crate::exchange::{OutputError, Progress, Request, Response};
use crate::memory::MemoryBound;
use crate::os::monotonic_now;

/// A request that a dyno answers.
#[derive(Debug)]
pub struct Served {
    /// The response. Its body may still be on its way.
    pub response: Response,
    /// Who serves it.
    pub dyno: DynoName,
    /// The dyno's release.
    pub release: ReleaseVersion,
    /// How long it waited for a dyno, a start included.
    pub queue: Duration,
    /// What it costs; final when the body has ended.
    pub usage: Arc<RequestUsage>,
}

/// A request that no dyno answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// The grid has no such app.
    #[error("no such app")]
    NoSuchApp,
    /// The app has no release yet.
    #[error("the app has no release")]
    Blank,
    /// Its formation is scaled to none.
    #[error("the app's web processes are scaled to none")]
    NoProcesses,
    /// Too many requests wait already.
    #[error("too many requests wait for a dyno")]
    Backlog,
    /// No dyno became free in time.
    #[error("no dyno became free in time")]
    QueueTimeout,
    /// A dyno could not be started.
    #[error("a dyno could not be started: {0}")]
    Crashed(String),
    /// Its dynos did nothing but crash; none is started for this long.
    #[error("its dynos do nothing but crash: the next attempt is in {} s", .0.as_secs())]
    Crashing(Duration),
    /// The dyno ended before it had answered.
    #[error("the dyno ended without a response: {0}")]
    NoResponse(String),
    /// The dyno took too long for its first byte, and was ended.
    #[error("the dyno did not answer in time")]
    Timeout,
    /// The head of the dyno's response has more than [`MAX_HEAD`](corundum_abi::cgi::MAX_HEAD) bytes.
    #[error("the response's head is too large")]
    HeadTooLarge,
    /// What the dyno answered is no response.
    #[error("{0}")]
    Malformed(String),
}

impl Grid {
    /// Serves one request of `app`. Dropping the returned future before it is ready gives up the request's place in
    /// the queue; a dyno that has the request goes on until it notices that nobody listens.
    ///
    /// # Errors
    ///
    /// [`DispatchError`].
    pub async fn dispatch(&self, app: &AppName, request: Request) -> Result<Served, DispatchError> {
        let arrived = Instant::now();
        let app = self.shared.app(app).ok_or(DispatchError::NoSuchApp)?;
        let mut lease = acquire(&self.shared, &app).await?;
        if lease.dyno.is_none() {
            start_leased(&self.shared, &mut lease).await?;
        }
        let queue = arrived.elapsed();
        let (dyno, release) = (lease.name(), lease.release.version);
        let usage = Arc::new(RequestUsage::default());
        let response = serve(&self.shared, lease, request, usage.clone()).await?;
        Ok(Served {
            response,
            dyno,
            release,
            queue,
            usage,
        })
    }
}

async fn acquire(shared: &Shared, app: &Arc<App>) -> Result<Lease, DispatchError> {
    let granted = match app.acquire() {
        Acquire::Lease(lease) => return Ok(lease),
        Acquire::Refused(error) => return Err(error),
        Acquire::Wait(granted) => granted,
    };
    match tokio::time::timeout(shared.limits.queue, granted).await {
        // The sender is dropped when the app is removed.
        Ok(granted) => granted.unwrap_or(Err(DispatchError::Blank)),
        Err(_) => Err(DispatchError::QueueTimeout),
    }
}

async fn start_leased(shared: &Arc<Shared>, lease: &mut Lease) -> Result<(), DispatchError> {
    let (release, name) = (lease.release.clone(), lease.name());
    let started = start::start_aside(shared, &release, &name);
    match tokio::time::timeout(shared.limits.queue, started).await {
        Ok(Ok(dyno)) => {
            lease.dyno = Some(Box::new(dyno));
            Ok(())
        }
        Ok(Err(error)) => {
            let line = format!("Error H10 (App crashed) -> {error}");
            shared.log.platform_line(lease.app().name(), &name, &line);
            if !matches!(error, NotStarted::Stopped) {
                lease.app().crashed(&name, Crash::Start);
            }
            Err(DispatchError::Crashed(error.to_string()))
        }
        Err(_) => {
            shared
                .log
                .platform_line(lease.app().name(), &name, "Error R10 (Boot timeout)");
            lease.app().crashed(&name, Crash::Start);
            Err(DispatchError::QueueTimeout)
        }
    }
}

/// Hands the request to the leased dyno and waits for its answer.
async fn serve(
    shared: &Arc<Shared>,
    lease: Lease,
    request: Request,
    usage: Arc<RequestUsage>,
) -> Result<Response, DispatchError> {
    let (answer, mut answered) = oneshot::channel();
    let progress = Arc::new(Progress::default());
    let ending = Arc::new(OnceLock::new());
    let exchange = Exchange {
        shared: shared.clone(),
        progress: progress.clone(),
        ending: ending.clone(),
        usage,
    };
    let mut work: Pin<Box<dyn Future<Output = ()> + Send>> =
        Box::pin(exchange.clone().run(lease, request, answer));
    // Most requests end here, on the thread that brought them, without another task or timer.
    let done = poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_ready())).await;
    if done {
        return match answered.try_recv() {
            Ok(response) => Ok(response),
            Err(_) => Err(ending.get().map_or(DispatchError::Timeout, Ending::error)),
        };
    }
    let watched = shared.compute.spawn(exchange.watch(work));
    match answered.await {
        Ok(response) => Ok(response),
        Err(_) => {
            // The answer is given up a moment before the reason is known.
            let _ = watched.await;
            Err(ending.get().map_or(DispatchError::Timeout, Ending::error))
        }
    }
}

/// How an exchange ended that has no response.
#[derive(Debug)]
enum Ending {
    Failed(Failure),
    FirstByte,
    Idle,
}

impl Ending {
    fn error(&self) -> DispatchError {
        match self {
            Self::Failed(Failure::Output(OutputError::Head(ResponseHeadError::TooLarge))) => {
                DispatchError::HeadTooLarge
            }
            Self::Failed(Failure::Output(OutputError::Head(error))) => {
                DispatchError::Malformed(error.to_string())
            }
            Self::Failed(failure) => DispatchError::NoResponse(failure.to_string()),
            Self::FirstByte | Self::Idle => DispatchError::Timeout,
        }
    }
}

#[derive(Clone)]
struct Exchange {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    ending: Arc<OnceLock<Ending>>,
    usage: Arc<RequestUsage>,
}

impl Exchange {
    async fn run(self, mut lease: Lease, request: Request, answer: oneshot::Sender<Response>) {
        let Some(dyno) = lease.dyno.as_mut() else {
            return;
        };
        let spent = |cpu, memory| self.usage.record(cpu, memory as u64);
        let result = dyno
            .handle(request, answer, self.progress.clone(), spent)
            .await;
        lease.served += 1;
        match (&result, self.progress.answered()) {
            (Err(_), None) => lease.app().crashed(&lease.name(), Crash::Request),
            _ => lease.app().succeeded(&lease.name()),
        }
        match result {
            Ok(_buffer) => lease.give_back(),
            Err(failure) => {
                self.report(&lease, &failure);
                let _ = self.ending.set(Ending::Failed(failure));
                lease.retire();
            }
        }
    }

    fn report(&self, lease: &Lease, failure: &Failure) {
        let app = lease.app().name();
        let log = &self.shared.log;
        let memory = lease
            .dyno
            .as_ref()
            .and_then(|dyno| dyno.reached_memory_limit());
        if let Some(bound) = memory {
            let line = match bound {
                MemoryBound::Dyno => "Error R15 (Memory quota vastly exceeded)",
                MemoryBound::Node => {
                    "Error R15 (Memory quota vastly exceeded) -> the node has no memory to spare"
                }
            };
            log.platform_line(app, &lease.name(), line);
        }
        let line = match failure {
            Failure::Exit(Exit(status)) => format!("Process exited with status {status}"),
            Failure::Status(status) => format!("Process exited with status {status}"),
            Failure::Trap(trap) => format!("Process crashed: {trap}"),
            Failure::Output(OutputError::Head(ResponseHeadError::TooLarge)) => {
                "Error H25 (HTTP restriction: response head too large)".to_owned()
            }
            Failure::Output(error) => {
                format!("Error H17 (Poorly formatted HTTP response) -> {error}")
            }
        };
        log.platform_line(app, &lease.name(), &line);
    }

    /// Drives work that waits or computes, and ends it when a deadline passes.
    async fn watch(self, mut work: Pin<Box<dyn Future<Output = ()> + Send>>) {
        loop {
            let left = self.time_left();
            let Some(left) = left else {
                let ending = match self.progress.answered() {
                    None => Ending::FirstByte,
                    Some(_) => Ending::Idle,
                };
                let _ = self.ending.set(ending);
                // Dropping the work ends the guest wherever it is, and its lease with it.
                return;
            };
            if tokio::time::timeout(left, work.as_mut()).await.is_ok() {
                return;
            }
        }
    }

    /// Time until the next deadline; none when one has passed.
    fn time_left(&self) -> Option<Duration> {
        let Limits {
            first_byte,
            idle_exchange,
            ..
        } = self.shared.limits;
        let now = monotonic_now();
        let since = |at: u64| Duration::from_nanos(now.saturating_sub(at));
        let read = self.progress.request_read();
        let moved = self.progress.moved();
        let left = match (self.progress.answered(), read) {
            (None, Some(read)) => first_byte.checked_sub(since(read)),
            _ => idle_exchange.checked_sub(since(moved)),
        };
        left.filter(|left| !left.is_zero())
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
