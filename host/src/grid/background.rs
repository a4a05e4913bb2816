//! Background work: the threads of idle dynos, which run between two requests.
//!
//! A dyno stays idle until its threads want to run, so a request finds it as it finds any other. Then a timer takes it for
//! one call, which lasts a time slice at most, and returns it. A dyno that only sleeps costs a timer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tracing::Instrument;

use super::app::GridApp;
use crate::dyno::{CallError, Exit};

/// Longest call. A guest returns after a time slice; only a host function that waits, or a busy node, takes longer.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// The timer of a dyno's threads, which is stopped when this is dropped.
pub(super) struct BackgroundTimer {
    due: Instant,
    task: Option<AbortHandle>,
}

impl BackgroundTimer {
    /// Starts the timer of the dyno with `number`.
    pub(super) fn start(app: &Arc<GridApp>, number: u32, due: Instant) -> Self {
        let (runtime, app) = (app.context().compute.clone(), Arc::downgrade(app));
        let task = runtime.spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            if let Some(app) = app.upgrade() {
                run(app, number).await;
            }
        });
        Self {
            due,
            task: Some(task.abort_handle()),
        }
    }

    /// Returns whether the timer ends by `due`.
    pub(super) fn ends_by(&self, due: Instant) -> bool {
        self.due <= due
    }

    /// Forgets the timer from within its own task.
    pub(super) fn finish(mut self) {
        self.task = None;
    }
}

impl Drop for BackgroundTimer {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Lets the threads of a dyno run once, unless it serves a request.
async fn run(app: Arc<GridApp>, number: u32) {
    let Some(mut lease) = app.take_for_background(number) else {
        return;
    };
    let Some(dyno) = lease.dyno.as_mut() else {
        return;
    };
    let call = tokio::time::timeout(CALL_LIMIT, dyno.run_threads());
    let line = match call.instrument(lease.facts.span()).await {
        Ok(Ok(())) => {
            lease.give_back();
            return;
        }
        Ok(Err(CallError::Exit(Exit(status)) | CallError::Status(status))) => {
            format!("Process exited with status {status}")
        }
        Ok(Err(error)) => format!("Process crashed: {error}"),
        Err(_) => "Process stopped: a background thread did not return in time".to_owned(),
    };
    let log = &app.context().log;
    log.platform_line(app.name(), &lease.facts.name(), &line);
    lease.retire();
}
