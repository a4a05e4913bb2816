//! The answer to a request, wherever it comes from.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corundum_abi::names::{DynoName, ReleaseVersion};
use corundum_exchange::{DynoBody, RequestUsage};
use http::Response;

use crate::cache::verdict::Verdict;

/// An answer, cleaned of what is not for the client.
pub(crate) struct Reply {
    pub(crate) response: Response<()>,
    pub(crate) body: DynoBody,
    /// Which dyno had a part in it, if any.
    pub(crate) served: Option<Served>,
    /// What the cache made of the request.
    pub(crate) verdict: Verdict,
}

/// A dyno's part in an answer.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) dyno: DynoName,
    pub(crate) release: ReleaseVersion,
    pub(crate) queue: Duration,
    pub(crate) usage: Arc<RequestUsage>,
}

impl Reply {
    /// An answer of the cache's.
    pub(crate) fn cached((response, body): (Response<()>, Bytes), verdict: Verdict) -> Self {
        Self {
            response,
            body: DynoBody::Full(body),
            served: None,
            verdict,
        }
    }
}
