//! The life of a request: checked, routed, handed to a dyno, answered, logged.

use std::sync::Arc;

use bytes::Bytes;
use corundum_sdk::names::AppName;
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

use crate::body::ResponseBody;
use crate::check;
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::gateway;
use crate::grid::Grid;
use crate::headers;
use crate::inflow::Inflow;
use crate::load::Place;
use crate::router::Router;
use crate::site::Site;
use crate::traffic::Ticket;

/// Serves one request.
pub(crate) async fn serve<G: Grid>(
    router: Arc<Router<G>>,
    connection: Connection,
    request: Request<Incoming>,
    ticket: &Ticket,
) -> Response<ResponseBody> {
    let (parts, body) = request.into_parts();
    let mut exchange = Exchange::new(&parts, &connection, ticket);
    let host = match check::host(&parts) {
        Ok(host) => host,
        Err(failure) => return exchange.refuse(&failure, &parts),
    };
    if let Some(answer) = router.challenges.answer(&host, &parts) {
        return answer;
    }
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
    let ticket = exchange.ticket.clone();
    // Dropped before it has an answer: the client has gone.
    let mut watch = Watch {
        grid: grid.clone(),
        app: app.clone(),
        exchange: Some(exchange),
    };
    let answered = async {
        let gathered = Inflow::gather(body, site.max_body, &router.limits, &router.budget, &ticket);
        let gathered = gathered.await?;
        let head = gateway::scgi_head(&parts, &host, connection, gathered.length);
        let dispatched = grid.dispatch(&app, head, gathered.body).await;
        // What broke the request off is of more interest than what the app made of half of it.
        if let Some(failure) = gathered.fault.get() {
            return Err(failure.clone());
        }
        let dispatched = dispatched?;
        let response = gateway::response(&dispatched.head, &router.limits)?;
        Ok((response, dispatched))
    };
    let answered = answered.await;
    let Some(exchange) = watch.exchange.take() else {
        return Response::new(Bytes::new().into());
    };
    match answered {
        Ok((response, dispatched)) => {
            let mut response = exchange.answer(router, app, response, dispatched, &parts, place);
            response
                .headers_mut()
                .insert(HeaderName::from_static("x-request-id"), id);
            response
        }
        Err(failure) => exchange.refuse_and_log(&*grid, &app, &failure, &parts),
    }
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
