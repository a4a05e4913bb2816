//! The answer to a request, from a dyno or from the cache.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corundum_abi::names::{DynoName, ReleaseVersion};
use corundum_exchange::{DynoBody, RequestUsage};
use http::Response;

use crate::body::streamed_body::StreamedBody;
use crate::cache::cache_status::CacheStatus;

/// An answer without headers that are not for the client.
pub(crate) struct Reply {
    pub(crate) response: Response<()>,
    pub(crate) body: ReplyBody,
    /// The dyno that had a part in it, if any.
    pub(crate) served_by: Option<ServedBy>,
    pub(crate) status: CacheStatus,
}

/// Body of an answer.
pub(crate) enum ReplyBody {
    /// The body is complete.
    Full(Bytes),
    /// The body is arriving.
    Stream(StreamedBody),
}

/// A dyno's part in an answer.
#[derive(Clone)]
pub(crate) struct ServedBy {
    pub(crate) dyno: DynoName,
    pub(crate) release: ReleaseVersion,
    /// Time that the request waited for the dyno.
    pub(crate) queue: Duration,
    pub(crate) usage: Arc<RequestUsage>,
}

impl From<DynoBody> for ReplyBody {
    fn from(body: DynoBody) -> Self {
        match body {
            DynoBody::Full(bytes) => Self::Full(bytes),
            DynoBody::Stream(stream) => Self::Stream(StreamedBody::Dyno(stream)),
        }
    }
}
