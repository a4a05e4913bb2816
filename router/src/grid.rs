//! What the router sees of a dyno grid: a request's head and body in, a typed response out.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use corundum_abi::cgi::ResponseHead;
use corundum_abi::names::{AppName, DynoName, ReleaseVersion};
use corundum_abi::scgi::RequestHead;
use corundum_exchange::{DynoBody, RequestBody, RequestUsage};

use crate::failure::Failure;
use crate::log_line::Line;
use crate::virtual_host::VirtualHost;

/// Dynos behind the router.
pub trait Grid: Send + Sync + 'static {
    /// The app that serves this host name (lower case, without a port).
    fn route(&self, host: &str) -> Option<Arc<VirtualHost>>;

    /// Has a dyno of `app` serve a request. Dropping the future gives the request up.
    fn dispatch(
        &self,
        app: &AppName,
        head: RequestHead,
        body: RequestBody,
    ) -> impl Future<Output = Result<Dispatched, Failure>> + Send;

    /// Takes a line of the router's log about `app`. Must not block.
    fn log(&self, app: &AppName, line: Line);
}

/// A request that a dyno has answered.
pub struct Dispatched {
    /// Status and headers as the dyno gave them.
    pub head: ResponseHead,
    /// The body.
    pub body: DynoBody,
    /// Who answered.
    pub dyno: DynoName,
    /// Its release.
    pub release: ReleaseVersion,
    /// How long the request waited for a dyno.
    pub queue: Duration,
    /// What the request cost; final when the body has ended.
    pub usage: Arc<RequestUsage>,
}
