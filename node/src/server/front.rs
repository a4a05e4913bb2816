//! The router's view of the platform: hosts are apps, and the grid's answers are the router's.

use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_abi::scgi::RequestHead;
use corundum_host::exchange::{self, BodyInterrupted, Request};
use corundum_host::grid::{self, DispatchError};
use corundum_router::failure::Failure;
use corundum_router::grid::{Dispatched, DynoBody, DynoGone, Grid, RequestBody};
use corundum_router::log_line::Line;
use corundum_router::site::Site;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::platform::Platform;

/// The platform as the router's grid.
pub(crate) struct Front {
    platform: Arc<Platform>,
}

struct Figures(Arc<grid::Figures>);

impl corundum_router::grid::Figures for Figures {
    fn cpu(&self) -> Duration {
        self.0.cpu()
    }

    fn memory(&self) -> u64 {
        self.0.memory()
    }
}

impl Front {
    pub(crate) fn new(platform: Arc<Platform>) -> Self {
        Self { platform }
    }
}

impl Grid for Front {
    fn route(&self, host: &str) -> Option<Arc<Site>> {
        self.platform.sites().route(host)
    }

    async fn dispatch(
        &self,
        app: &AppName,
        head: RequestHead,
        body: RequestBody,
    ) -> Result<Dispatched, Failure> {
        let body = match body {
            RequestBody::Empty => exchange::RequestBody::Empty,
            RequestBody::Full(bytes) => exchange::RequestBody::Full(bytes),
            RequestBody::Stream(stream) => exchange::RequestBody::Stream(
                stream.map(|item| item.map_err(|_| BodyInterrupted)).boxed(),
            ),
        };
        let served = self
            .platform
            .grid()
            .dispatch(app, Request { head, body })
            .await
            .map_err(failure)?;
        let body = match served.response.body {
            exchange::ResponseBody::Full(bytes) => DynoBody::Full(bytes),
            exchange::ResponseBody::Stream(stream) => DynoBody::Stream(forward(stream)),
        };
        Ok(Dispatched {
            head: served.response.head,
            body,
            dyno: served.dyno,
            release: served.release,
            queue: served.queue,
            figures: Arc::new(Figures(served.figures)),
        })
    }

    fn log(&self, app: &AppName, line: Line) {
        self.platform.logs().add_routed(app, line);
    }
}

/// Passes a body on, one piece at a time, with the router's own error.
fn forward(
    mut from: mpsc::Receiver<Result<bytes::Bytes, exchange::ResponseInterrupted>>,
) -> mpsc::Receiver<Result<bytes::Bytes, DynoGone>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(item) = from.recv().await {
            if sender.send(item.map_err(|_| DynoGone)).await.is_err() {
                return;
            }
        }
    });
    receiver
}

fn failure(error: DispatchError) -> Failure {
    match error {
        DispatchError::NoSuchApp => Failure::NoSuchApp,
        DispatchError::Blank => Failure::BlankApp,
        DispatchError::NoProcesses => Failure::NoWebProcesses,
        DispatchError::Backlog => Failure::BacklogTooDeep,
        DispatchError::QueueTimeout => Failure::BootTimeout,
        DispatchError::Crashing(pause) => Failure::AppCrashing(pause),
        DispatchError::Crashed(_) => Failure::AppCrashed,
        DispatchError::NoResponse(_) => Failure::ClosedWithoutResponse,
        DispatchError::Timeout => Failure::RequestTimeout,
        DispatchError::HeadTooLarge => Failure::HEAD_TOO_LARGE,
        DispatchError::Malformed(what) => Failure::PoorlyFormatted(what),
    }
}
