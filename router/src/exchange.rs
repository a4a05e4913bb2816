//! A request under way: what is gathered for its log line, and the answer that it ends with.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use corundum_exchange::DynoBody;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};

use crate::body::outcome::{BodyEnd, BodyOutcome};
use crate::body::response_body::{OnEnd, ResponseBody};
use crate::body::response_buffer::ResponseBuffer;
use crate::body::source::BodySource;
use crate::cache::{CACHE_STATUS, X_CACHE};
use crate::client_info::ClientInfo;
use crate::concurrency_limit::Permit;
use crate::connection_state::RequestHandle;
use crate::error_page;
use crate::failure::Failure;
use crate::grid::Grid;
use crate::headers::content_length;
use crate::log_line::{Entry, Line};
use crate::reply::Reply;
use crate::request_id::REQUEST_ID;
use crate::router::Router;
use crate::site::Site;

/// What is gathered of a request for its log line.
pub(crate) struct Exchange {
    pub(crate) entry: Entry,
    pub(crate) started: Instant,
    /// Whose it is, once that is known.
    pub(crate) site: Option<Arc<Site>>,
    /// Its place on its connection.
    pub(crate) handle: RequestHandle,
}

impl Exchange {
    pub(crate) fn new(parts: &Parts, connection: &ClientInfo, handle: &RequestHandle) -> Self {
        let target = parts
            .uri
            .path_and_query()
            .map_or("", |target| target.as_str());
        let entry = Entry {
            method: parts.method.clone(),
            path: target.into(),
            forwarded: connection.address.clone(),
            protocol: match parts.version {
                Version::HTTP_10 => "http1.0",
                Version::HTTP_2 => "http2",
                _ => "http1.1",
            },
            tls: connection.tls,
            ..Entry::default()
        };
        Self {
            entry,
            started: Instant::now(),
            site: None,
            handle: handle.clone(),
        }
    }

    /// Logs and counts the request, which has ended well or in `failure`, if it is any app's.
    pub(crate) fn end<G: Grid>(self, grid: &G, failure: Option<Failure>) {
        if let Some(site) = &self.site {
            site.metrics.record(&self.entry, failure.as_ref());
            grid.log(&site.app, Line::new(self.entry, failure));
        }
    }

    /// The page of a failure.
    pub(crate) fn refuse(&mut self, failure: &Failure, parts: &Parts) -> Response<ResponseBody> {
        let pages = self.site.as_ref().map(|site| &site.pages);
        let mut response = error_page::page(failure, &parts.headers, pages);
        if let Some(after) = failure.retry_after() {
            let seconds = after.as_secs_f64().ceil() as u64;
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        let body = if parts.method == Method::HEAD {
            Bytes::new()
        } else {
            response.body().clone()
        };
        self.entry.bytes = body.len() as u64;
        response.map(|_| body.into())
    }

    /// The page of a failure, which the app's log tells of.
    pub(crate) fn refuse_and_log<G: Grid>(
        mut self,
        grid: &G,
        failure: &Failure,
        parts: &Parts,
    ) -> Response<ResponseBody> {
        let response = self.refuse(failure, parts);
        self.entry.status = failure.status().as_u16();
        self.entry.service = self.started.elapsed();
        self.end(grid, Some(failure.clone()));
        response
    }

    /// A response, with the log line to be written when it has ended.
    pub(crate) fn answer<G: Grid>(
        mut self,
        router: &Router<G>,
        reply: Reply,
        parts: &Parts,
        permit: Permit,
    ) -> Response<ResponseBody> {
        let mut response = reply.response;
        let status = response.status();
        let headers = response.headers_mut();
        headers.insert(X_CACHE, reply.verdict.x_cache());
        headers.insert(CACHE_STATUS, reply.verdict.cache_status());
        headers.insert(REQUEST_ID, self.entry.request_id.header());
        self.entry.cache = reply.verdict.as_str();
        let bodiless = parts.method == Method::HEAD
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        let source = match reply.body {
            _ if bodiless => BodySource::Full(Bytes::new()),
            DynoBody::Full(bytes) => {
                // What was said of the length may be wrong, what came is not.
                headers.remove(CONTENT_LENGTH);
                BodySource::Full(bytes)
            }
            DynoBody::Stream(stream) => BodySource::Stream(ResponseBuffer::start(
                stream,
                &router.limits,
                &router.memory_budget,
                &self.handle,
            )),
        };
        let length = content_length(headers);
        self.entry.status = status.as_u16();
        let usage = reply.served.map(|served| {
            self.entry.dyno = Some(served.dyno);
            self.entry.release = Some(served.release);
            self.entry.queue = served.queue;
            served.usage
        });
        let grid = router.grid.clone();
        let on_end: OnEnd = Box::new(move |end: BodyEnd| {
            self.entry.bytes = end.bytes;
            self.entry.service = self.started.elapsed().saturating_sub(self.entry.queue);
            if let Some(usage) = usage {
                self.entry.cpu = usage.cpu();
                self.entry.memory = usage.memory();
            }
            let failure = match end.outcome {
                BodyOutcome::Complete => None,
                BodyOutcome::DynoGone => Some(Failure::ServerInterrupted),
                BodyOutcome::DynoIdle => Some(Failure::IdleConnection),
                BodyOutcome::ClientGone => Some(Failure::ClientInterrupted),
                BodyOutcome::ClientIdle => Some(Failure::ClientIdle),
            };
            if let Some(failure) = &failure {
                self.entry.status = failure.status().as_u16();
            }
            self.end(&*grid, failure);
            drop(permit);
        });
        response.map(|()| ResponseBody::new(source, length, Some(on_end)))
    }
}
