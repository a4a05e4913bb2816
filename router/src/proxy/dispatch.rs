//! Sends a request to the app's dynos and cleans the response.

use corundum_exchange::{DynoBody, RequestBody};
use http::header::{DATE, VIA};
use http::request::Parts;
use http::{HeaderValue, Response};

use super::cgi;
use super::context::RequestContext;
use super::reply::{Reply, ServedBy};
use crate::cache::cache_status::CacheStatus;
use crate::cache::entry::{Candidate, CandidateBody};
use crate::cache::purge::{self, CACHE_PURGE};
use crate::failure::Failure;
use crate::grid::{Dispatched, Grid};
use crate::headers;
use crate::request_id::RequestId;

/// A dyno's response, without hop-by-hop headers.
pub(crate) struct UpstreamResponse {
    pub(crate) response: Response<()>,
    pub(crate) body: DynoBody,
    pub(crate) served_by: ServedBy,
}

impl<G: Grid> RequestContext<G> {
    /// Sends a request to a dyno, with the router's forwarding headers. `length` is the body's, if known.
    pub(crate) async fn dispatch(
        &self,
        request: Parts,
        id: &RequestId,
        length: Option<u64>,
        body: RequestBody,
    ) -> Result<UpstreamResponse, Failure> {
        let dispatched = self.send(request, id, length, body).await?;
        self.receive(dispatched)
    }

    /// Sends a request to a dyno, with the router's forwarding headers, and returns its response unchanged.
    pub(crate) async fn send(
        &self,
        mut request: Parts,
        id: &RequestId,
        length: Option<u64>,
        body: RequestBody,
    ) -> Result<Dispatched, Failure> {
        headers::add_forwarding(&mut request.headers, &self.client, id);
        let head = cgi::scgi_head(&request, &self.host, &self.client, length);
        let (grid, app) = (&self.router.grid, &self.virtual_host.app);
        grid.dispatch(app, head, body).await
    }

    /// Cleans a dyno's response.
    pub(crate) fn receive(&self, dispatched: Dispatched) -> Result<UpstreamResponse, Failure> {
        let mut response = cgi::response(&dispatched.head, &self.router.limits)?;
        let headers = response.headers_mut();
        headers::strip_hop_by_hop(headers);
        headers.append(VIA, HeaderValue::from_static("1.1 corundum"));
        // hyper adds a `Date` of its own where there is none; that one is better than an invalid one.
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        if date.is_some_and(|date| httpdate::parse_http_date(date).is_err()) {
            headers.remove(DATE);
        }
        Ok(UpstreamResponse {
            response,
            body: dispatched.body,
            served_by: ServedBy {
                dyno: dispatched.dyno,
                release: dispatched.release,
                queue: dispatched.queue,
                usage: dispatched.usage,
            },
        })
    }

    /// Carries out the purges that a response orders, and removes the order from it.
    pub(crate) fn apply_purge(&self, upstream: &mut UpstreamResponse) {
        let headers = upstream.response.headers_mut();
        if !headers.contains_key(CACHE_PURGE) {
            return;
        }
        let orders = purge::orders(headers, &self.host);
        headers.remove(CACHE_PURGE);
        for scope in orders {
            let purged = self.cache().purge(&self.virtual_host.app, &scope);
            tracing::debug!(app = %self.virtual_host.app, ?scope, purged, "cached responses purged by the app");
        }
    }
}

impl UpstreamResponse {
    /// Describes the response for the cache to judge.
    pub(crate) fn candidate(&self) -> Candidate<'_> {
        let headers = self.response.headers();
        let declared = headers::content_length(headers);
        Candidate {
            status: self.response.status(),
            headers,
            body: match &self.body {
                DynoBody::Full(body) => CandidateBody::Complete {
                    bytes: body.len() as u64,
                    declared,
                },
                DynoBody::Stream(_) => CandidateBody::Streamed { declared },
            },
            release: self.served_by.release,
        }
    }

    /// Turns the response into the answer to a request.
    pub(crate) fn into_reply(self, status: CacheStatus) -> Reply {
        Reply {
            response: self.response,
            body: self.body.into(),
            served_by: Some(self.served_by),
            status,
        }
    }
}
