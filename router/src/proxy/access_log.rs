//! The log line of a request: gathered while the request is served, written when its response ends.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;
use tracing::Span;

use super::context::RequestContext;
use super::reply::{Reply, ReplyBody};
use crate::body::outcome::{BodyEnd, BodyOutcome};
use crate::body::response_body::{OnEnd, ResponseBody};
use crate::body::response_buffer::ResponseBuffer;
use crate::body::source::BodySource;
use crate::cache::cache_status::{CACHE_STATUS, X_CACHE};
use crate::client_info::ClientInfo;
use crate::concurrency_limit::Permit;
use crate::connection_state::RequestHandle;
use crate::error_page;
use crate::failure::Failure;
use crate::grid::Grid;
use crate::headers::content_length;
use crate::log_line::{RequestRecord, RouterLogLine};
use crate::request_id::REQUEST_ID;
use crate::virtual_host::VirtualHost;

/// The reason of a status that HTTP has no reason for. hyper's own is `<none>`, in every client's sight.
const NO_REASON: ReasonPhrase = ReasonPhrase::from_static(b"");

/// A request under way, with the fields of its log line that are known so far.
pub(crate) struct AccessLog {
    pub(crate) entry: RequestRecord,
    pub(crate) started: Instant,
    /// The app, once the request is routed. Requests without an app are not logged.
    pub(crate) virtual_host: Option<Arc<VirtualHost>>,
    /// Position of the request on its connection.
    pub(crate) handle: RequestHandle,
    /// Span of the request, once it is routed.
    pub(crate) span: Span,
}

impl AccessLog {
    pub(crate) fn new(parts: &Parts, client: &ClientInfo, handle: &RequestHandle) -> Self {
        let target = parts
            .uri
            .path_and_query()
            .map_or("", |target| target.as_str());
        let entry = RequestRecord {
            method: parts.method.clone(),
            path: target.into(),
            forwarded: client.address.clone(),
            protocol: match parts.version {
                Version::HTTP_10 => "http1.0",
                Version::HTTP_2 => "http2",
                _ => "http1.1",
            },
            tls: client.tls,
            ..RequestRecord::default()
        };
        Self {
            entry,
            started: Instant::now(),
            virtual_host: None,
            handle: handle.clone(),
            span: Span::none(),
        }
    }

    /// Logs and counts the request, which ended well or in `failure`, if it is routed.
    pub(crate) fn finish<G: Grid>(self, grid: &G, failure: Option<Failure>) {
        tracing::debug!(
            parent: &self.span,
            status = self.entry.status,
            bytes = self.entry.bytes,
            cache = self.entry.cache,
            code = failure.as_ref().map(Failure::code),
            "request completed"
        );
        if let Some(virtual_host) = &self.virtual_host {
            let metrics = &virtual_host.metrics;
            metrics.record(&self.entry, failure.as_ref());
            grid.log(&virtual_host.app, RouterLogLine::new(self.entry, failure));
        }
    }

    /// Builds the error page of a failure, without logging it.
    pub(crate) fn error_page(
        &mut self,
        failure: &Failure,
        parts: &Parts,
    ) -> Response<ResponseBody> {
        let pages = self.virtual_host.as_ref().map(|host| &host.pages);
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

    /// Builds the error page of a failure and logs the request.
    pub(crate) fn refuse<G: Grid>(
        mut self,
        grid: &G,
        failure: &Failure,
        parts: &Parts,
    ) -> Response<ResponseBody> {
        let response = self.error_page(failure, parts);
        self.entry.status = failure.status().as_u16();
        self.entry.service = self.started.elapsed();
        self.finish(grid, Some(failure.clone()));
        response
    }

    /// Builds the response of an answer; the request is logged when its body has ended. `permit` counts it as under way
    /// until then.
    pub(crate) fn respond<G: Grid>(
        mut self,
        context: &RequestContext<G>,
        reply: Reply,
        parts: &Parts,
        permit: Permit,
    ) -> Response<ResponseBody> {
        let mut response = reply.response;
        let status = response.status();
        let headers = response.headers_mut();
        headers.insert(X_CACHE, reply.status.x_cache());
        headers.insert(CACHE_STATUS, reply.status.header());
        headers.insert(REQUEST_ID, self.entry.request_id.header());
        self.entry.cache = reply.status.as_str();
        let known = status == StatusCode::OK || status.canonical_reason().is_some();
        let bodiless = parts.method == Method::HEAD
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        let source = match reply.body {
            _ if bodiless => BodySource::Full(Bytes::new()),
            ReplyBody::Full(bytes) => {
                // hyper sets the length of a complete body; the app's may be wrong.
                headers.remove(CONTENT_LENGTH);
                BodySource::Full(bytes)
            }
            ReplyBody::Stream(stream) => BodySource::Stream(ResponseBuffer::start(
                stream,
                &context.router.limits,
                context.body_pool(),
                &self.handle,
            )),
        };
        let length = content_length(headers);
        if !known {
            response.extensions_mut().insert(NO_REASON);
        }
        self.entry.status = status.as_u16();
        let usage = reply.served_by.map(|served| {
            self.entry.dyno = Some(served.dyno);
            self.entry.release = Some(served.release);
            self.entry.queue = served.queue;
            served.usage
        });
        let grid = context.router.grid.clone();
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
            self.finish(&*grid, failure);
            drop(permit);
        });
        response.map(|()| ResponseBody::new(source, length, Some(on_end)))
    }
}
