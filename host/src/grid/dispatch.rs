//! The path of a request through the grid: acquire a dyno, hand the request over, watch the deadlines.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use corundum_abi::CONNECTION_TAKEN;
use corundum_abi::cgi::ResponseHeadError;
use corundum_abi::names::{DynoName, ReleaseVersion};
use corundum_exchange::{ConnectionLink, RequestBody, RequestUsage};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::app::{Acquisition, GridApp};
use super::context::GridContext;
use super::crashing_routes::Route;
use super::error::DispatchError;
use super::lease::Lease;
use super::limits::GridLimits;
use super::start::{self, FirstPoll, LaunchError};
use crate::dyno::{CallError, Exit};
use crate::memory::MemoryBound;
use crate::os::monotonic_now;
use crate::request::{DynoRequest, DynoResponse, RequestProgress};
use crate::stdio::OutputError;

/// Time between two looks at the client of a connection.
const LOOK_AT_CLIENT: Duration = Duration::from_secs(10);

/// A request that a dyno has answered.
#[derive(Debug)]
pub struct DispatchedRequest {
    /// The response. The dyno may still be writing its body.
    pub response: DynoResponse,
    /// Name of the dyno.
    pub dyno: DynoName,
    /// Release that the dyno runs.
    pub release: ReleaseVersion,
    /// Time that the request waited for a dyno, a start included.
    pub queue: Duration,
    /// Cost of the request; final when the body has ended.
    pub usage: Arc<RequestUsage>,
}

/// Has a dyno of `app` serve `request`.
pub(super) async fn dispatch(
    app: &Arc<GridApp>,
    request: DynoRequest,
) -> Result<DispatchedRequest, DispatchError> {
    let link = match &request.body {
        RequestBody::Connection(connection) => Some(connection.link.clone()),
        _ => None,
    };
    if link.is_some() && !app.may_upgrade() {
        return Err(DispatchError::Connections);
    }
    let arrived = Instant::now();
    let route = app.has_crashed().then(|| Route::of(&request.head));
    let mut lease = acquire(app, route).await?;
    if lease.dyno.is_none() {
        let span = lease.span();
        start_dyno(&mut lease).instrument(span).await?;
    }
    let queue = arrived.elapsed();
    let (dyno, release) = (lease.facts.name(), lease.facts.release.version);
    let usage = Arc::new(RequestUsage::default());
    let response = serve(lease, request, route, usage.clone(), link.clone()).await?;
    if response.head.status == CONNECTION_TAKEN
        && let Some(link) = link
    {
        app.record_upgrade(&dyno, link);
    }
    Ok(DispatchedRequest {
        response,
        dyno,
        release,
        queue,
        usage,
    })
}

async fn acquire(app: &Arc<GridApp>, route: Option<Route>) -> Result<Lease, DispatchError> {
    let granted = match app.acquire(route) {
        Acquisition::Lease(lease) => return Ok(lease),
        Acquisition::Refused(error) => return Err(error),
        Acquisition::Wait(granted) => granted,
    };
    match tokio::time::timeout(app.context().limits.queue, granted).await {
        // The sender is dropped when the app is removed.
        Ok(granted) => granted.unwrap_or(Err(DispatchError::Blank)),
        Err(_) => Err(DispatchError::QueueTimeout),
    }
}

/// Starts the dyno of a lease.
async fn start_dyno(lease: &mut Lease) -> Result<(), DispatchError> {
    let (app, release, name) = (
        lease.app().clone(),
        lease.facts.release.clone(),
        lease.facts.name(),
    );
    let context = app.context();
    let began = Instant::now();
    let started = start::start_for_request(
        context,
        app.share(),
        &release,
        &name,
        app.web_memory(),
        first_poll(&app),
    );
    match tokio::time::timeout(context.limits.queue, started).await {
        Ok(Ok(dyno)) => {
            tracing::debug!(elapsed = ?began.elapsed(), "dyno started");
            lease.dyno = Some(Box::new(dyno));
            app.record_start(&name);
            Ok(())
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "dyno failed to start");
            let line = format!("Error H10 (App crashed) -> {error}");
            context.log.platform_line(app.name(), &name, &line);
            if !matches!(error, LaunchError::Stopped) {
                app.record_failed_start(&name);
            }
            Err(DispatchError::Crashed(error.to_string()))
        }
        Err(_) => {
            tracing::debug!(limit = ?context.limits.queue, "dyno did not start in time");
            let line = "Error R10 (Boot timeout)";
            context.log.platform_line(app.name(), &name, line);
            app.record_failed_start(&name);
            Err(DispatchError::QueueTimeout)
        }
    }
}

/// Returns the thread for the first part of a dyno's work. Starting dynos again and again, or computing for long, must
/// not take the time of the router's threads.
fn first_poll(app: &GridApp) -> FirstPoll {
    match app.crashes_often() || app.slow_requests.prevail() {
        true => FirstPoll::Compute,
        false => FirstPoll::Here,
    }
}

/// Hands the request to the leased dyno and waits for its response.
async fn serve(
    lease: Lease,
    request: DynoRequest,
    route: Option<Route>,
    usage: Arc<RequestUsage>,
    link: Option<Arc<ConnectionLink>>,
) -> Result<DynoResponse, DispatchError> {
    let (answer, mut answered) = oneshot::channel();
    let invocation = Invocation {
        context: lease.app().context().clone(),
        progress: Arc::default(),
        end: Arc::default(),
        route,
        usage,
        link,
    };
    let first = first_poll(lease.app());
    let end = invocation.end.clone();
    let error = || {
        end.get()
            .map_or(DispatchError::Timeout, InvocationEnd::error)
    };
    let span = lease.span();
    let work = invocation.clone().run(lease, request, answer);
    let mut work: Work = Box::pin(work.instrument(span));
    // Most requests end with the first poll, on the thread that brought them, without another task or timer.
    match first {
        FirstPoll::Here => {
            let is_done =
                poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_ready())).await;
            if is_done {
                return answered.try_recv().map_err(|_| error());
            }
        }
        // The first deadline counts from here.
        FirstPoll::Compute => invocation.progress.record_moved(),
    }
    let compute = invocation.context.compute.clone();
    let watched = compute.spawn(invocation.watch(work));
    match answered.await {
        Ok(response) => Ok(response),
        Err(_) => {
            // The sender is dropped a moment before the reason is recorded.
            let _ = watched.await;
            Err(error())
        }
    }
}

/// A call of a dyno with one request.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Reason for which a request has no response.
#[derive(Debug)]
enum InvocationEnd {
    /// The call failed.
    Failed(CallError),
    /// A deadline passed.
    TimedOut,
}

impl InvocationEnd {
    fn error(&self) -> DispatchError {
        match self {
            Self::Failed(CallError::Output(OutputError::Head(ResponseHeadError::TooLarge))) => {
                DispatchError::HeadTooLarge
            }
            Self::Failed(CallError::Output(OutputError::Head(error))) => {
                DispatchError::Malformed(error.to_string())
            }
            Self::Failed(error) => DispatchError::NoResponse(error.to_string()),
            Self::TimedOut => DispatchError::Timeout,
        }
    }
}

/// One request in a dyno, shared by the task that drives it and the deadlines that watch it.
#[derive(Clone)]
struct Invocation {
    context: Arc<GridContext>,
    progress: Arc<RequestProgress>,
    end: Arc<OnceLock<InvocationEnd>>,
    /// Route of the request, if a request of the app has crashed a dyno.
    route: Option<Route>,
    usage: Arc<RequestUsage>,
    /// The client's connection, if the app may take it over.
    link: Option<Arc<ConnectionLink>>,
}

impl Invocation {
    async fn run(
        self,
        mut lease: Lease,
        request: DynoRequest,
        answer: oneshot::Sender<DynoResponse>,
    ) {
        let Some(dyno) = lease.dyno.as_mut() else {
            return;
        };
        tracing::debug!("request started");
        let result = dyno
            .handle(request, answer, self.progress.clone(), &self.usage)
            .await;
        lease.facts.served += 1;
        lease.app().slow_requests.record(self.usage.cpu());
        let (app, name) = (lease.app(), lease.facts.name());
        if result.is_err() && self.progress.answered().is_none() {
            if let Some(dyno) = &lease.dyno {
                app.record_crash(&name, dyno.failed_request());
            }
        } else if let Some(route) = self.route {
            app.record_answer(&name, route);
        }
        match result {
            Ok(()) => {
                tracing::debug!(
                    cpu = ?self.usage.cpu(),
                    memory = self.usage.memory(),
                    "request served"
                );
                match self.progress.is_upgraded() {
                    // The app may have kept something of its client.
                    true => lease.retire(),
                    false => lease.give_back(),
                }
            }
            Err(error) => {
                tracing::debug!(%error, "dyno failed");
                self.report(&lease, &error);
                let _ = self.end.set(InvocationEnd::Failed(error));
                lease.retire();
            }
        }
    }

    /// Writes the reason of a failed call to the app's log.
    fn report(&self, lease: &Lease, error: &CallError) {
        let (app, name) = (lease.app().name(), lease.facts.name());
        let log = &self.context.log;
        let dyno = lease.dyno.as_ref();
        if let Some(bound) = dyno.and_then(|dyno| dyno.reached_memory_limit()) {
            let line = match bound {
                MemoryBound::Dyno => "Error R15 (Memory quota vastly exceeded)",
                MemoryBound::Node => {
                    "Error R15 (Memory quota vastly exceeded) -> the node has no memory to spare"
                }
            };
            log.platform_line(app, &name, line);
        }
        let line = match error {
            CallError::Exit(Exit(status)) | CallError::Status(status) => {
                format!("Process exited with status {status}")
            }
            CallError::Trap(trap) => format!("Process crashed: {trap}"),
            CallError::Output(OutputError::Head(ResponseHeadError::TooLarge)) => {
                "Error H25 (HTTP restriction: response head too large)".to_owned()
            }
            CallError::Output(error) => {
                format!("Error H17 (Poorly formatted HTTP response) -> {error}")
            }
        };
        log.platform_line(app, &name, &line);
    }

    /// Drives work that waits or computes, and drops it when a deadline passes.
    async fn watch(self, mut work: Work) {
        loop {
            if self.is_connected() {
                // The end of a client wakes no task, so this one looks for it.
                if tokio::time::timeout(LOOK_AT_CLIENT, work.as_mut())
                    .await
                    .is_ok()
                {
                    return;
                }
                continue;
            }
            let Some(left) = self.time_left() else {
                let _ = self.end.set(InvocationEnd::TimedOut);
                // Dropping the work stops the guest wherever it is, and ends its lease.
                return;
            };
            if tokio::time::timeout(left, work.as_mut()).await.is_ok() {
                return;
            }
        }
    }

    /// Returns whether the app has taken over a connection whose client is there. Its bytes pass the router, which has deadlines
    /// of its own for them.
    fn is_connected(&self) -> bool {
        let link = self.link.as_ref();
        let is_open = link.is_some_and(|link| !link.is_client_gone());
        if self.progress.is_upgraded() && is_open {
            // The time that the app has for its end counts from here.
            self.progress.record_moved();
            return true;
        }
        false
    }

    /// Returns the time until the next deadline, or `None` if one has passed.
    fn time_left(&self) -> Option<Duration> {
        let GridLimits {
            first_byte,
            mut idle_exchange,
            abandoned,
            ..
        } = self.context.limits;
        if self.progress.is_upgraded() {
            idle_exchange = abandoned;
        }
        let now = monotonic_now();
        let since = |at: u64| Duration::from_nanos(now.saturating_sub(at));
        let left = match (self.progress.answered(), self.progress.request_read()) {
            (None, Some(read)) => first_byte.checked_sub(since(read)),
            _ => idle_exchange.checked_sub(since(self.progress.moved())),
        };
        left.filter(|left| !left.is_zero())
    }
}
