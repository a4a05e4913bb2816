//! The interface between the router and the dynos: a request's head and body in, a typed response out.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use corundum_abi::cgi::ResponseHead;
use corundum_abi::names::{AppName, DynoName, ReleaseVersion};
use corundum_abi::scgi::RequestHead;
use corundum_exchange::{DynoBody, RequestBody, RequestUsage};

use crate::failure::Failure;
use crate::log_line::RouterLogLine;
use crate::virtual_host::VirtualHost;

/// Dynos behind the router.
pub trait Grid: Send + Sync + 'static {
    /// Finds the app of a host name (lower case, without a port).
    fn route(&self, host: &str) -> Option<Arc<VirtualHost>>;

    /// Sends a request to a dyno of `app`. Dropping the future abandons the request.
    fn dispatch(
        &self,
        app: &AppName,
        head: RequestHead,
        body: RequestBody,
    ) -> impl Future<Output = Result<Dispatched, Failure>> + Send;

    /// Adds a line of the router to the log of `app`. Must not block.
    fn log(&self, app: &AppName, line: RouterLogLine);
}

/// A dyno's response to a request.
pub struct Dispatched {
    /// Status and headers, unchanged.
    pub head: ResponseHead,
    /// Body, which may still be arriving.
    pub body: DynoBody,
    /// Dyno that answered.
    pub dyno: DynoName,
    /// Release of the dyno.
    pub release: ReleaseVersion,
    /// Time that the request waited for the dyno.
    pub queue: Duration,
    /// Processor time and memory of the request; final when the body has ended.
    pub usage: Arc<RequestUsage>,
}
