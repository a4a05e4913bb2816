//! Delivery of a static file, and its access log entry.

use bytes::Bytes;
use http::Response;

use crate::body::outcome::{BodyEnd, BodyOutcome};
use crate::body::response_body::{OnEnd, ResponseBody};
use crate::body::source::BodySource;
use crate::failure::Failure;
use crate::grid::Grid;
use crate::proxy::access_log::AccessLog;
use crate::request_id::REQUEST_ID;
use crate::router::Router;
use crate::virtual_host::VirtualHost;

/// Value of `cache=` in the log: the cache never sees the request.
const STATIC: &str = "static";

/// Answers a request for `virtual_host` with a static file.
pub(crate) fn deliver<G: Grid>(
    mut log: AccessLog,
    router: &Router<G>,
    virtual_host: &VirtualHost,
    mut response: Response<Bytes>,
) -> Response<ResponseBody> {
    log.entry.release = virtual_host.release;
    log.entry.status = response.status().as_u16();
    log.entry.cache = STATIC;
    let id = log.entry.request_id.header();
    response.headers_mut().insert(REQUEST_ID, id);
    let grid = router.grid.clone();
    let length = response.body().len() as u64;
    let on_end: OnEnd = Box::new(move |end: BodyEnd| {
        log.entry.bytes = end.bytes;
        log.entry.service = log.started.elapsed();
        let failure = match end.outcome {
            BodyOutcome::Complete => None,
            _ => Some(Failure::ClientInterrupted),
        };
        if let Some(failure) = &failure {
            log.entry.status = failure.status().as_u16();
        }
        log.finish(&*grid, failure);
    });
    response.map(|bytes| ResponseBody::new(BodySource::Full(bytes), Some(length), Some(on_end)))
}
