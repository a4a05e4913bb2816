//! The life of a request: checked, routed, handed to a dyno, answered, logged.
//!
//! What is at hand is answered at once, without a future to be made and polled: refusals, redirects, files, and what the
//! cache holds.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{Either, Ready, ready};
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;

use crate::ask::Ask;
use crate::body::response_body::ResponseBody;
use crate::cache::lookup::Admission;
use crate::client_info::ClientInfo;
use crate::compress::{self, Compression};
use crate::concurrency_limit::Permit;
use crate::connection_state::RequestHandle;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::files::delivery::deliver;
use crate::grid::Grid;
use crate::headers;
use crate::reply::Reply;
use crate::request_id::RequestId;
use crate::router::Router;
use crate::site::Service;
use crate::validate;

/// A response that is there, or is waited for.
pub(crate) type Served = Either<
    Ready<Response<ResponseBody>>,
    Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>,
>;

/// Makes a response that is there.
pub(crate) fn now(response: Response<ResponseBody>) -> Served {
    Either::Left(ready(response))
}

/// Serves one request.
pub(crate) fn serve<G: Grid>(
    router: &Arc<Router<G>>,
    connection: &ClientInfo,
    request: Request<Incoming>,
    handle: &RequestHandle,
) -> Served {
    let (parts, body) = request.into_parts();
    let mut exchange = Exchange::new(&parts, connection, handle);
    let host = match validate::host(&parts) {
        Ok(host) => host,
        Err(failure) => return now(exchange.refuse(&failure, &parts)),
    };
    if let Some(answer) = router.http01_challenges.answer(&host, &parts) {
        return now(answer);
    }
    let Some(site) = router.grid.route(&host) else {
        router.metrics.count_unrouted();
        return now(exchange.refuse(&Failure::NoSuchApp, &parts));
    };
    exchange.entry.host = host.clone();
    exchange.entry.request_id = RequestId::of(&parts.headers);
    exchange.site = Some(site.clone());
    if let Some(mut redirect) = site.https.redirect(connection, &parts, &host) {
        exchange.entry.status = redirect.status().as_u16();
        exchange.end(&*router.grid, None);
        site.https.add_hsts(connection, &mut redirect);
        return now(redirect);
    }
    let ask = Ask {
        router: router.clone(),
        site,
        connection: connection.clone(),
        host,
        id: exchange.entry.request_id.clone(),
    };
    match ask.serve(exchange, parts, body) {
        Begun::Answered(mut response) => {
            ask.site.https.add_hsts(connection, &mut response);
            now(response)
        }
        Begun::Waiting(waiting) => Either::Right(Box::pin(async move {
            let mut response = waiting.answer(&ask).await;
            ask.site.https.add_hsts(&ask.connection, &mut response);
            response
        })),
    }
}

/// How far a request has come at once.
enum Begun<G: Grid> {
    Answered(Response<ResponseBody>),
    Waiting(Box<Waiting<G>>),
}

/// A request whose answer has to be waited for.
struct Waiting<G: Grid> {
    watch: Watch<G>,
    handle: RequestHandle,
    permit: Permit,
    parts: Parts,
    body: Incoming,
    admission: Admission,
}

impl<G: Grid> Ask<G> {
    /// Begins to serve a request for an app.
    fn serve(&self, mut exchange: Exchange, mut parts: Parts, body: Incoming) -> Begun<G> {
        let (router, site) = (&*self.router, &self.site);
        let refuse = |exchange: Exchange, failure, parts: &Parts| {
            Begun::Answered(exchange.refuse_and_log(&*router.grid, &failure, parts))
        };
        if let Err(failure) = validate::validate_request(&parts, &self.host, site, &self.connection)
        {
            return refuse(exchange, failure, &parts);
        }
        if site.service == Service::Maintenance {
            return refuse(exchange, Failure::Maintenance, &parts);
        }
        if let Some(response) = site.files.as_ref().and_then(|files| files.answer(&parts)) {
            return Begun::Answered(deliver(exchange, router, site, response));
        }
        let Some(permit) = Permit::acquire(&site.metrics, router.limits.requests) else {
            return refuse(exchange, Failure::ConnectionLimit, &parts);
        };
        headers::set_host(&mut parts);
        headers::strip_hop_by_hop(&mut parts.headers);
        if site.compression == Compression::On {
            compress::tag_translation::translate(&mut parts);
        }
        exchange.entry.forwarded = headers::forwarded_for(&parts.headers, &self.connection);
        match self.admit(&parts, !body.is_end_stream(), exchange.started) {
            Admission::Serve(stored, verdict) => {
                let reply = self.serve_stored(stored, verdict, &parts);
                Begun::Answered(self.finish(exchange, reply, &parts, permit))
            }
            admission => Begun::Waiting(Box::new(Waiting {
                handle: exchange.handle.clone(),
                watch: Watch {
                    grid: router.grid.clone(),
                    exchange: Some(exchange),
                },
                permit,
                parts,
                body,
                admission,
            })),
        }
    }

    /// The response as it goes out.
    fn finish(
        &self,
        exchange: Exchange,
        reply: Reply,
        parts: &Parts,
        permit: Permit,
    ) -> Response<ResponseBody> {
        let verdict = reply.verdict;
        let response = exchange.answer(&self.router, reply, parts, permit);
        let (compression, encoders) = (self.site.compression, &self.router.encoder_budget);
        compress::compress(compression, encoders, parts, verdict, response)
    }
}

impl<G: Grid> Waiting<G> {
    async fn answer(mut self, ask: &Ask<G>) -> Response<ResponseBody> {
        let replied = ask
            .reply(self.admission, &self.parts, self.body, &self.handle)
            .await;
        let Some(exchange) = self.watch.exchange.take() else {
            return Response::new(Bytes::new().into());
        };
        match replied {
            Ok(reply) => ask.finish(exchange, reply, &self.parts, self.permit),
            Err(failure) => exchange.refuse_and_log(&*ask.router.grid, &failure, &self.parts),
        }
    }
}

/// Logs a request whose client went away before it was answered: this is dropped then.
struct Watch<G: Grid> {
    grid: Arc<G>,
    exchange: Option<Exchange>,
}

impl<G: Grid> Drop for Watch<G> {
    fn drop(&mut self) {
        let Some(mut exchange) = self.exchange.take() else {
            return;
        };
        exchange.entry.status = Failure::ClientInterrupted.status().as_u16();
        exchange.entry.service = exchange.started.elapsed();
        exchange.end(&*self.grid, Some(Failure::ClientInterrupted));
    }
}
