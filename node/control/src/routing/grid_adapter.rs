//! The grid behind the router's interface: hosts are apps, and the grid's failures are the router's.

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_abi::scgi::RequestHead;
use corundum_exchange::RequestBody;
use corundum_host::grid::{self, DispatchError};
use corundum_host::request::DynoRequest;
use corundum_router::failure::Failure;
use corundum_router::grid::{Dispatched, Grid};
use corundum_router::log_line::RouterLogLine;
use corundum_router::virtual_host::VirtualHost;

use super::view::RouterView;
use crate::logs::Logs;

/// Routes and dispatches requests for the router.
pub struct GridAdapter {
    view: Arc<RouterView>,
    grid: grid::DynoGrid,
    logs: Arc<Logs>,
}

impl GridAdapter {
    /// Creates an adapter that routes by `view`, dispatches to `grid` and writes access lines to `logs`.
    pub fn new(view: Arc<RouterView>, grid: grid::DynoGrid, logs: Arc<Logs>) -> Self {
        Self { view, grid, logs }
    }
}

impl Grid for GridAdapter {
    fn route(&self, host: &str) -> Option<Arc<VirtualHost>> {
        self.view.route(host)
    }

    async fn dispatch(
        &self,
        app: &AppName,
        head: RequestHead,
        body: RequestBody,
    ) -> Result<Dispatched, Failure> {
        let served = self.grid.dispatch(app, DynoRequest { head, body }).await;
        let served = served.map_err(failure)?;
        Ok(Dispatched {
            head: served.response.head,
            body: served.response.body,
            dyno: served.dyno,
            release: served.release,
            queue: served.queue,
            usage: served.usage,
        })
    }

    fn log(&self, app: &AppName, line: RouterLogLine) {
        self.logs.add_routed(app, line);
    }
}

fn failure(error: DispatchError) -> Failure {
    match error {
        DispatchError::NoSuchApp => Failure::NoSuchApp,
        DispatchError::Blank => Failure::BlankApp,
        DispatchError::NoProcesses => Failure::NoWebProcesses,
        DispatchError::Connections => Failure::ConnectionLimit,
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
