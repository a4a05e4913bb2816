//! The reply to a request from the cache or a dyno, before it becomes hyper's response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corundum_abi::names::{DynoName, ReleaseVersion};
use corundum_exchange::{DynoBody, RequestUsage};
use http::Response;

use crate::cache::verdict::Verdict;

/// A reply without the headers that are not meant for the client.
pub(crate) struct Reply {
    pub(crate) response: Response<()>,
    pub(crate) body: DynoBody,
    /// The dyno that served the request, if any.
    pub(crate) served: Option<Served>,
    /// Result of the cache, for the log and the response headers.
    pub(crate) verdict: Verdict,
}

/// A dyno's part in a reply.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) dyno: DynoName,
    pub(crate) release: ReleaseVersion,
    pub(crate) queue: Duration,
    pub(crate) usage: Arc<RequestUsage>,
}

impl Reply {
    /// Builds a reply from the cache.
    pub(crate) fn cached((response, body): (Response<()>, Bytes), verdict: Verdict) -> Self {
        Self {
            response,
            body: DynoBody::Full(body),
            served: None,
            verdict,
        }
    }
}
