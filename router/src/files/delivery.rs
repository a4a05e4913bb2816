//! Delivery of a static file, and its access log entry.

use bytes::Bytes;
use http::Response;

use crate::body::outcome::{BodyEnd, BodyOutcome};
use crate::body::response_body::{OnEnd, ResponseBody};
use crate::body::source::BodySource;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::grid::Grid;
use crate::request_id::REQUEST_ID;
use crate::router::Router;
use crate::site::Site;

/// Value of `cache=` in the log: the cache never sees the request.
const STATIC: &str = "static";

/// Answers a request for `site` with a static file.
pub(crate) fn deliver<G: Grid>(
    mut exchange: Exchange,
    router: &Router<G>,
    site: &Site,
    mut response: Response<Bytes>,
) -> Response<ResponseBody> {
    exchange.entry.release = site.release;
    exchange.entry.status = response.status().as_u16();
    exchange.entry.cache = STATIC;
    let id = exchange.entry.request_id.header();
    response.headers_mut().insert(REQUEST_ID, id);
    let grid = router.grid.clone();
    let length = response.body().len() as u64;
    let on_end: OnEnd = Box::new(move |end: BodyEnd| {
        exchange.entry.bytes = end.bytes;
        exchange.entry.service = exchange.started.elapsed();
        let failure = match end.outcome {
            BodyOutcome::Complete => None,
            _ => Some(Failure::ClientInterrupted),
        };
        if let Some(failure) = &failure {
            exchange.entry.status = failure.status().as_u16();
        }
        exchange.end(&*grid, failure);
    });
    response.map(|bytes| ResponseBody::new(BodySource::Full(bytes), Some(length), Some(on_end)))
}
