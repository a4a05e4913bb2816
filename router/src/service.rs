//! The life of a request: checked, routed, handed to a dyno, answered, logged.

use std::sync::Arc;

use bytes::Bytes;
use corundum_sdk::names::AppName;
use futures_util::StreamExt;
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::body::ResponseBody;
use crate::check;
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::gateway;
use crate::grid::{ClientGone, Grid, RequestBody};
use crate::headers;
use crate::load::Place;
use crate::router::Router;
use crate::site::Site;

/// Serves one request.
pub(crate) async fn serve<G: Grid>(
    router: Arc<Router<G>>,
    connection: Connection,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (parts, body) = request.into_parts();
    let mut exchange = Exchange::new(&parts, &connection);
    let host = match check::host(&parts) {
        Ok(host) => host,
        Err(failure) => return exchange.refuse(&failure, &parts),
    };
    exchange.entry.host.clone_from(&host);
    let Some(site) = router.grid.route(&host) else {
        router.figures.count_unrouted();
        return exchange.refuse(&Failure::NoSuchApp, &parts);
    };
    exchange.figures = Some(site.figures.clone());
    let id = headers::request_id(&parts.headers);
    exchange.entry.request_id = id.to_str().unwrap_or_default().to_owned();
    let mut response = match site.https.redirect(&connection, &parts, &host) {
        Some(redirect) => {
            exchange.entry.status = redirect.status().as_u16();
            exchange.end(&*router.grid, &site.app, None);
            redirect
        }
        None => serve_site(&router, &site, &connection, exchange, parts, body, id).await,
    };
    site.https.protect(&connection, &mut response);
    response
}

/// Serves a request for an app.
async fn serve_site<G: Grid>(
    router: &Router<G>,
    site: &Site,
    connection: &Connection,
    mut exchange: Exchange,
    mut parts: Parts,
    body: Incoming,
    id: HeaderValue,
) -> Response<ResponseBody> {
    let grid = router.grid.clone();
    let app = site.app.clone();
    let host = exchange.entry.host.clone();
    if let Err(failure) = check::check(&parts, &host, site, connection) {
        return exchange.refuse_and_log(&*grid, &app, &failure, &parts);
    }
    let Some(place) = Place::take(&site.figures, router.limits.requests) else {
        return exchange.refuse_and_log(&*grid, &app, &Failure::ConnectionLimit, &parts);
    };
    headers::set_host(&mut parts);
    headers::strip_hop_by_hop(&mut parts.headers);
    exchange.entry.forwarded = headers::add_forwarding(&mut parts.headers, connection, id.clone());
    let length = if body.is_end_stream() {
        Some(0)
    } else {
        body.size_hint().exact()
    };
    let head = gateway::scgi_head(&parts, &host, connection, length);
    let body = match length {
        Some(0) => RequestBody::Empty,
        _ => stream(body),
    };
    // Dropped before it has an answer: the client has gone.
    let mut watch = Watch {
        grid: grid.clone(),
        app: app.clone(),
        exchange: Some(exchange),
    };
    let result = grid.dispatch(&app, head, body).await;
    let Some(exchange) = watch.exchange.take() else {
        return Response::new(Bytes::new().into());
    };
    let answered = result.and_then(|dispatched| {
        let response = gateway::response(&dispatched.head, &router.limits)?;
        Ok((response, dispatched))
    });
    match answered {
        Ok((response, dispatched)) => {
            let mut response = exchange.answer(grid, app, response, dispatched, &parts, place);
            response
                .headers_mut()
                .insert(HeaderName::from_static("x-request-id"), id);
            response
        }
        Err(failure) => exchange.refuse_and_log(&*grid, &app, &failure, &parts),
    }
}

/// The body as the grid takes it: data only, since trailers have no place in CGI.
fn stream(body: Incoming) -> RequestBody {
    let frames = body
        .into_data_stream()
        .map(|item| item.map_err(|_| ClientGone));
    RequestBody::Stream(frames.boxed())
}

/// Logs a request whose client went away before it was answered.
struct Watch<G: Grid> {
    grid: Arc<G>,
    app: AppName,
    exchange: Option<Exchange>,
}

impl<G: Grid> Drop for Watch<G> {
    fn drop(&mut self) {
        let Some(mut exchange) = self.exchange.take() else {
            return;
        };
        exchange.entry.status = Failure::ClientInterrupted.status().as_u16();
        exchange.entry.service = exchange.started.elapsed();
        exchange.end(&*self.grid, &self.app, Some(&Failure::ClientInterrupted));
    }
}
