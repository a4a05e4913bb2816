//! The router's view of the platform: hosts are apps, and the grid's answers are the router's.

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_abi::scgi::RequestHead;
use corundum_exchange::RequestBody;
use corundum_host::grid::DispatchError;
use corundum_host::request::DynoRequest;
use corundum_router::failure::Failure;
use corundum_router::grid::{Dispatched, Grid};
use corundum_router::log_line::RouterLogLine;
use corundum_router::virtual_host::VirtualHost;

use crate::platform::Platform;

/// The platform as the router's grid.
pub(crate) struct Front {
    platform: Arc<Platform>,
}

impl Front {
    pub(crate) fn new(platform: Arc<Platform>) -> Self {
        Self { platform }
    }
}

impl Grid for Front {
    fn route(&self, host: &str) -> Option<Arc<VirtualHost>> {
        self.platform.sites().route(host)
    }

    async fn dispatch(
        &self,
        app: &AppName,
        head: RequestHead,
        body: RequestBody,
    ) -> Result<Dispatched, Failure> {
        let served = self
            .platform
            .grid()
            .dispatch(app, DynoRequest { head, body })
            .await
            .map_err(failure)?;
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
        self.platform.logs().add_routed(app, line);
    }
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
