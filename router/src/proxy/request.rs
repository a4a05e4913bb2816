//! One request: checked, routed, answered, logged.
//!
//! Responses that need no I/O return synchronously, without a future to allocate and poll: refusals, redirects, files
//! and cache hits.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{Either, Ready, ready};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tracing::Instrument;

use super::access_log::AccessLog;
use super::cached::not_cached_reply;
use super::context::RequestContext;
use super::fetch::UpstreamFetch;
use super::handshake::{self, WebSocketAnswer};
use super::reply::Reply;
use super::{background_revalidation, bypass, collapsing};
use crate::body::response_body::ResponseBody;
use crate::cache::cache_status::{BypassReason, CacheStatus};
use crate::cache::lookup::Lookup;
use crate::client_info::ClientInfo;
use crate::compress::{self, Compression};
use crate::concurrency_limit::Permit;
use crate::connection_state::RequestHandle;
use crate::failure::Failure;
use crate::files::delivery::deliver;
use crate::grid::Grid;
use crate::headers;
use crate::request_id::{REQUEST_ID, RequestId};
use crate::request_url;
use crate::router::Router;
use crate::shutdown::ShutdownPhase;
use crate::validate;
use crate::virtual_host::Availability;
use crate::websocket;
use crate::websocket::tunnel::{Tunnel, TunnelEnd, TunnelEndHook};

/// A response that is ready, or a future of one.
pub(crate) type ServeFuture = Either<
    Ready<Response<ResponseBody>>,
    Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>,
>;

/// Wraps a response that is ready.
pub(crate) fn ready_response(response: Response<ResponseBody>) -> ServeFuture {
    Either::Left(ready(response))
}

/// Serves one request.
pub(crate) fn serve<G: Grid>(
    router: &Arc<Router<G>>,
    client: &ClientInfo,
    request: Request<Incoming>,
    handle: &RequestHandle,
    stop: &watch::Receiver<ShutdownPhase>,
) -> ServeFuture {
    let (mut parts, body) = request.into_parts();
    websocket::detect(&mut parts);
    let behind_proxy;
    let client = if client.is_proxy {
        behind_proxy = router
            .trusted_proxies
            .client_behind(client, &mut parts.headers);
        &behind_proxy
    } else {
        client
    };
    let normalised = request_url::normalise(&mut parts, client);
    let mut log = AccessLog::new(&parts, client, handle);
    let host = match normalised {
        Ok(host) => host,
        Err(failure) => return ready_response(log.error_page(&failure, &parts)),
    };
    if let Some(answer) = router.http01_challenges.answer(&host, &parts) {
        return ready_response(answer);
    }
    let Some(virtual_host) = router.grid.route(&host) else {
        router.metrics.count_unrouted();
        return ready_response(log.error_page(&Failure::NoSuchApp, &parts));
    };
    log.entry.host = host.clone();
    log.entry.request_id = RequestId::of(&parts.headers);
    log.virtual_host = Some(virtual_host.clone());
    // Fields are evaluated only while the level is enabled.
    log.span = tracing::debug_span!(
        "request",
        method = %parts.method,
        %host,
        path = %log.entry.path,
        app = %virtual_host.app,
        request_id = %log.entry.request_id,
    );
    let span = log.span.clone();
    if let Some(mut redirect) = virtual_host.https.redirect(client, &parts, &host) {
        log.entry.status = redirect.status().as_u16();
        log.finish(&*router.grid, None);
        virtual_host.https.add_hsts(client, &mut redirect);
        return ready_response(redirect);
    }
    let context = RequestContext {
        router: router.clone(),
        virtual_host,
        client: client.clone(),
        host,
        request_id: log.entry.request_id.clone(),
    };
    match span.in_scope(|| context.begin(log, parts, body, stop)) {
        Begun::Answered(mut response) => {
            context.virtual_host.https.add_hsts(client, &mut response);
            ready_response(response)
        }
        Begun::Pending(pending) => {
            let responded = async move {
                let mut response = pending.respond(&context).await;
                let https = &context.virtual_host.https;
                https.add_hsts(&context.client, &mut response);
                response
            };
            Either::Right(Box::pin(responded.instrument(span)))
        }
    }
}

/// State of a request after its synchronous part.
enum Begun<G: Grid> {
    Answered(Response<ResponseBody>),
    Pending(Box<PendingRequest<G>>),
}

/// A request that waits for a dyno or for another request.
struct PendingRequest<G: Grid> {
    disconnect: DisconnectGuard<G>,
    handle: RequestHandle,
    permit: Permit,
    parts: Parts,
    body: Incoming,
    lookup: Lookup,
    /// The listener's shutdown, for a request that asks to become a WebSocket.
    websocket: Option<watch::Receiver<ShutdownPhase>>,
}

impl<G: Grid> RequestContext<G> {
    /// Answers a request, as far as that needs no I/O.
    fn begin(
        &self,
        mut log: AccessLog,
        mut parts: Parts,
        body: Incoming,
        stop: &watch::Receiver<ShutdownPhase>,
    ) -> Begun<G> {
        let (router, virtual_host) = (&*self.router, &self.virtual_host);
        let refuse = |log: AccessLog, failure, parts: &Parts| {
            Begun::Answered(log.refuse(&*router.grid, &failure, parts))
        };
        let max = router.limits.request_headers;
        if let Err(failure) =
            validate::validate_request(&parts, &self.host, virtual_host, &self.client, max)
        {
            return refuse(log, failure, &parts);
        }
        if virtual_host.availability == Availability::Maintenance {
            return refuse(log, Failure::Maintenance, &parts);
        }
        let is_websocket = websocket::is_requested(&parts);
        let files = virtual_host.files.as_ref().filter(|_| !is_websocket);
        if let Some(response) = files.and_then(|files| files.answer(&parts)) {
            return Begun::Answered(deliver(log, router, virtual_host, response));
        }
        let (most, pool) = (router.limits.requests, &router.request_pool);
        let Some(permit) = Permit::acquire(&virtual_host.metrics, most, pool) else {
            return refuse(log, Failure::ConnectionLimit, &parts);
        };
        headers::strip_hop_by_hop(&mut parts.headers);
        if virtual_host.compression == Compression::On {
            compress::tag_translation::translate(&mut parts);
        }
        log.entry.forwarded = headers::forwarded_for(&parts.headers, &self.client);
        let lookup = match virtual_host.release {
            Some(_) if !is_websocket => {
                let (resource, has_body) = (self.resource(&parts), !body.is_end_stream());
                let cache = self.cache();
                cache.look_up(&resource, &parts, has_body, log.started)
            }
            _ => Lookup::Bypass(BypassReason::NoCache),
        };
        match lookup {
            Lookup::Hit(cached, status) => {
                let reply = self.reply_cached(cached, status, &parts);
                Begun::Answered(self.respond(log, reply, &parts, permit))
            }
            lookup => Begun::Pending(Box::new(PendingRequest {
                handle: log.handle.clone(),
                disconnect: DisconnectGuard {
                    grid: router.grid.clone(),
                    log: Some(log),
                },
                permit,
                parts,
                body,
                lookup,
                websocket: is_websocket.then(|| stop.clone()),
            })),
        }
    }

    /// Turns an answer into the response that goes out.
    fn respond(
        &self,
        log: AccessLog,
        reply: Reply,
        parts: &Parts,
        permit: Permit,
    ) -> Response<ResponseBody> {
        self.count(reply.status);
        let status = reply.status;
        let response = log.respond(self, reply, parts, permit);
        let compression = self.virtual_host.compression;
        let share = &self.virtual_host.metrics.shares().encoders;
        let encoders = self.router.encoder_pool.of(share);
        compress::response::compress(compression, encoders, parts, status, response)
    }
}

impl<G: Grid> PendingRequest<G> {
    async fn respond(mut self, context: &RequestContext<G>) -> Response<ResponseBody> {
        if let Some(stop) = self.websocket.take() {
            return self.open_websocket(context, stop).await;
        }
        let parts = &self.parts;
        let reply = match self.lookup {
            Lookup::Fetch(miss, leader) => {
                UpstreamFetch::new(context, parts, &miss).send(leader).await
            }
            Lookup::Wait(miss, follower) => {
                collapsing::follow(context, parts, miss, follower).await
            }
            Lookup::Bypass(reason) => {
                bypass::forward(context, parts, self.body, &self.handle, reason).await
            }
            Lookup::Head(reason, cached) => {
                bypass::forward_head(context, parts, reason, cached).await
            }
            Lookup::Hit(cached, status) => Ok(context.reply_cached(cached, status, parts)),
            Lookup::StaleHit(cached, status, miss) => {
                background_revalidation::start(context, parts, miss);
                Ok(context.reply_cached(cached, status, parts))
            }
            Lookup::NotCached => Ok(not_cached_reply()),
        };
        let Some(log) = self.disconnect.log.take() else {
            return Response::new(Bytes::new().into());
        };
        match reply {
            Ok(reply) => context.respond(log, reply, parts, self.permit),
            Err(failure) => log.refuse(&*context.router.grid, &failure, parts),
        }
    }
}

impl<G: Grid> PendingRequest<G> {
    /// Answers a request that asks to become a WebSocket.
    async fn open_websocket(
        mut self,
        context: &RequestContext<G>,
        stop: watch::Receiver<ShutdownPhase>,
    ) -> Response<ResponseBody> {
        let opened = handshake::open(context, &self.parts).await;
        let Some(mut log) = self.disconnect.log.take() else {
            return Response::new(Bytes::new().into());
        };
        let switched = match opened {
            Ok(WebSocketAnswer::Switched(switched)) => *switched,
            Ok(WebSocketAnswer::Answered(upstream)) => {
                let reply = upstream.into_reply(CacheStatus::Bypass(BypassReason::NoCache));
                return context.respond(log, reply, &self.parts, self.permit);
            }
            Err(failure) => return log.refuse(&*context.router.grid, &failure, &self.parts),
        };
        let is_http2 = self.parts.version == Version::HTTP_2;
        let mut response = Response::new(ResponseBody::from(Bytes::new()));
        *response.status_mut() = match is_http2 {
            true => StatusCode::OK,
            false => StatusCode::SWITCHING_PROTOCOLS,
        };
        *response.headers_mut() = handshake::response_headers(switched.headers, is_http2);
        response
            .headers_mut()
            .insert(REQUEST_ID, log.entry.request_id.header());
        log.entry.status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
        log.entry.dyno = Some(switched.served_by.dyno);
        log.entry.release = Some(switched.served_by.release);
        log.entry.queue = switched.served_by.queue;
        let (grid, permit, usage) = (
            context.router.grid.clone(),
            self.permit,
            switched.served_by.usage,
        );
        let on_end = TunnelEndHook(Some(Box::new(move |end: TunnelEnd| {
            log.entry.bytes = end.bytes;
            log.entry.service = log.started.elapsed().saturating_sub(log.entry.queue);
            log.entry.cpu = usage.cpu();
            log.entry.memory = usage.memory();
            log.finish(&*grid, end.failure);
            drop(permit);
        })));
        let tunnel = Tunnel {
            guest: switched.guest,
            first: switched.first,
            link: switched.link,
            idle: context.router.limits.client_idle,
            on_end,
        };
        match self.parts.extensions.remove::<OnUpgrade>() {
            Some(upgrade) if is_http2 => drop(tokio::spawn(async move {
                let mut stop = stop;
                if let Ok(stream) = upgrade.await {
                    let ending = async {
                        let _ = stop
                            .wait_for(|phase| *phase >= ShutdownPhase::Closing)
                            .await;
                    };
                    tunnel.run(TokioIo::new(stream), Bytes::new(), ending).await;
                }
            })),
            _ => self.handle.set_tunnel(tunnel),
        }
        response
    }
}

/// Logs a request whose client disconnected before the answer: hyper then drops the future, and this with it.
struct DisconnectGuard<G: Grid> {
    grid: Arc<G>,
    log: Option<AccessLog>,
}

impl<G: Grid> Drop for DisconnectGuard<G> {
    fn drop(&mut self) {
        let Some(mut log) = self.log.take() else {
            return;
        };
        log.entry.status = Failure::ClientInterrupted.status().as_u16();
        log.entry.service = log.started.elapsed();
        log.finish(&*self.grid, Some(Failure::ClientInterrupted));
    }
}
