//! What the router sees of a dyno grid: a request's head and body in, a typed response out.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corundum_abi::cgi::ResponseHead;
use corundum_abi::names::{AppName, DynoName, ReleaseVersion};
use corundum_abi::scgi::RequestHead;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::log_line::Line;
use crate::site::Site;

/// Dynos behind the router.
pub trait Grid: Send + Sync + 'static {
    /// The app that serves this host name (lower case, without a port).
    fn route(&self, host: &str) -> Option<Arc<Site>>;

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

/// A request's body on its way to a dyno.
pub enum RequestBody {
    /// No body.
    Empty,
    /// A body that has arrived whole.
    Full(Bytes),
    /// A body that is streamed as the dyno reads it; an item that is an error ends it.
    Stream(BoxStream<'static, Result<Bytes, ClientGone>>),
}

/// The client closed its connection, or broke the framing of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientGone;

/// The dyno ended in the middle of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DynoGone;

/// A response's body on its way from a dyno.
pub enum DynoBody {
    /// The whole body.
    Full(Bytes),
    /// A body that is still being made.
    Stream(mpsc::Receiver<Result<Bytes, DynoGone>>),
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
    /// What it has cost, known when the body has ended.
    pub figures: Arc<dyn Figures>,
}

/// What a request has cost.
pub trait Figures: Send + Sync {
    /// Time the dyno computed for it.
    fn cpu(&self) -> Duration;
    /// Bytes of the dyno's memory after it.
    fn memory(&self) -> u64;
}
