//! The life of a request: checked, routed, handed to a dyno, answered, logged.

use std::sync::Arc;

use bytes::Bytes;
use corundum_sdk::names::AppName;
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

use crate::ask::Ask;
use crate::body::ResponseBody;
use crate::check;
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::files::deliver::deliver;
use crate::grid::Grid;
use crate::headers;
use crate::load::Place;
use crate::router::Router;
use crate::site::{Service, Site};
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
    exchange.pages = Some(site.pages.clone());
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
    router: &Arc<Router<G>>,
    site: &Arc<Site>,
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
    if site.service == Service::Maintenance {
        return exchange.refuse_and_log(&*grid, &app, &Failure::Maintenance, &parts);
    }
    if let Some(response) = site.files.as_ref().and_then(|files| files.answer(&parts)) {
        return deliver(exchange, router, site, response, id);
    }
    let Some(place) = Place::take(&site.figures, router.limits.requests) else {
        return exchange.refuse_and_log(&*grid, &app, &Failure::ConnectionLimit, &parts);
    };
    headers::set_host(&mut parts);
    headers::strip_hop_by_hop(&mut parts.headers);
    exchange.entry.forwarded = headers::forwarded_for(&parts.headers, connection);
    let ticket = exchange.ticket.clone();
    // Dropped before it has an answer: the client has gone.
    let mut watch = Watch {
        grid: grid.clone(),
        app: app.clone(),
        exchange: Some(exchange),
    };
    let ask = Ask {
        router: router.clone(),
        site: site.clone(),
        connection: connection.clone(),
        host,
        id: id.clone(),
    };
    let replied = ask.reply(&parts, body, &ticket).await;
    let Some(exchange) = watch.exchange.take() else {
        return Response::new(Bytes::new().into());
    };
    match replied {
        Ok(reply) => {
            let mut response = exchange.answer(router, app, reply, &parts, place);
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
