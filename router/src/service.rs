//! The life of a request: checked, routed, handed to a dyno, answered, logged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{CONTENT_LENGTH, DATE, EXPECT, HOST, HeaderName, VIA};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::body::{End, OnEnd, Outcome, ResponseBody};
use crate::error_page;
use crate::failure::Failure;
use crate::gateway;
use crate::grid::{ClientGone, Dispatched, DynoBody, Grid, RequestBody};
use crate::headers;
use crate::log_line::Entry;

/// A request line may be this long (Heroku's limit).
const MAX_TARGET: usize = 8192;
/// So may a header's value.
const MAX_HEADER: usize = 8192;

/// Serves one request.
pub(crate) async fn serve<G: Grid>(
    grid: Arc<G>,
    peer: SocketAddr,
    local: SocketAddr,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (parts, body) = request.into_parts();
    let mut exchange = Exchange::new(&parts, peer);
    let host = match check(&parts) {
        Ok(host) => host,
        Err(failure) => return exchange.refuse(&failure, &parts),
    };
    exchange.entry.host.clone_from(&host);
    let Some(app) = grid.route(&host) else {
        return exchange.refuse(&Failure::NoSuchApp, &parts);
    };
    let id = headers::request_id(&parts.headers);
    exchange.entry.request_id = id.to_str().unwrap_or_default().to_owned();
    let mut parts = parts;
    headers::set_host(&mut parts);
    headers::strip_hop_by_hop(&mut parts.headers);
    exchange.entry.forwarded =
        headers::add_forwarding(&mut parts.headers, peer, local.port(), id.clone());
    let length = if body.is_end_stream() {
        Some(0)
    } else {
        body.size_hint().exact()
    };
    let head = gateway::scgi_head(&parts, &host, local.port(), peer, length);
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
    let Some(mut exchange) = watch.exchange.take() else {
        return Response::new(Bytes::new().into());
    };
    let answered = result.and_then(|dispatched| {
        let response = gateway::response(&dispatched.head).map_err(Failure::PoorlyFormatted)?;
        Ok((response, dispatched))
    });
    match answered {
        Ok((response, dispatched)) => {
            let mut response = exchange.answer(grid, app, response, dispatched, &parts);
            response
                .headers_mut()
                .insert(HeaderName::from_static("x-request-id"), id);
            response
        }
        Err(failure) => {
            let response = exchange.refuse(&failure, &parts);
            exchange.entry.status = failure.status().as_u16();
            exchange.entry.service = exchange.started.elapsed();
            grid.log(&app, exchange.entry.line(Some(&failure)));
            response
        }
    }
}

/// Checks what no dyno should see; returns the host's name.
fn check(parts: &Parts) -> Result<String, Failure> {
    let refuse = |status, why| Err(Failure::Request(status, why));
    if parts.method == Method::CONNECT {
        return refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "This is no proxy: CONNECT is not served.",
        );
    }
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET {
        return refuse(
            StatusCode::URI_TOO_LONG,
            "The request line is longer than 8192 bytes.",
        );
    }
    if parts.headers.values().any(|value| value.len() > MAX_HEADER) {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return refuse(status, "A header line is longer than 8192 bytes.");
    }
    let expect = parts.headers.get(EXPECT);
    if expect.is_some_and(|expect| !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return refuse(
            StatusCode::EXPECTATION_FAILED,
            "The only known expectation is 100-continue.",
        );
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (parts.uri.authority(), hosts.next(), hosts.next()) {
        (_, Some(_), Some(_)) => None,
        (Some(authority), ..) => Some(authority.host()),
        (None, Some(host), None) => host.to_str().ok().map(without_port),
        (None, None, _) => None,
    };
    match host {
        Some(host) if !host.is_empty() => Ok(host.to_ascii_lowercase()),
        _ => refuse(
            StatusCode::BAD_REQUEST,
            "The request does not name one host.",
        ),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The body as the grid takes it: data only, since trailers have no place in CGI.
fn stream(body: Incoming) -> RequestBody {
    let frames = body
        .into_data_stream()
        .map(|item| item.map_err(|_| ClientGone));
    RequestBody::Stream(frames.boxed())
}

/// What is gathered of a request for its log line.
struct Exchange {
    entry: Entry,
    started: Instant,
}

impl Exchange {
    fn new(parts: &Parts, peer: SocketAddr) -> Self {
        let target = parts
            .uri
            .path_and_query()
            .map_or("", |target| target.as_str());
        let entry = Entry {
            method: parts.method.as_str().to_owned(),
            path: target.to_owned(),
            forwarded: peer.ip().to_canonical().to_string(),
            protocol: match parts.version {
                Version::HTTP_10 => "http1.0",
                Version::HTTP_2 => "http2",
                _ => "http1.1",
            },
            ..Entry::default()
        };
        Self {
            entry,
            started: Instant::now(),
        }
    }

    /// The page of a failure.
    fn refuse(&mut self, failure: &Failure, parts: &Parts) -> Response<ResponseBody> {
        let response = error_page::page(failure, &parts.headers);
        let body = if parts.method == Method::HEAD {
            Bytes::new()
        } else {
            response.body().clone()
        };
        self.entry.bytes = body.len() as u64;
        response.map(|_| body.into())
    }

    /// A dyno's response, cleaned, with the log line to be written when it has ended.
    fn answer<G: Grid>(
        mut self,
        grid: Arc<G>,
        app: corundum_sdk::names::AppName,
        mut response: Response<()>,
        dispatched: Dispatched,
        parts: &Parts,
    ) -> Response<ResponseBody> {
        let status = response.status();
        let headers = response.headers_mut();
        headers::strip_hop_by_hop(headers);
        headers.append(VIA, HeaderValue::from_static("1.1 corundum"));
        headers.remove(DATE);
        let bodiless = parts.method == Method::HEAD
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        let source = match dispatched.body {
            _ if bodiless => DynoBody::Full(Bytes::new()),
            DynoBody::Full(bytes) => {
                // What was said of the length may be wrong, what came is not.
                headers.remove(CONTENT_LENGTH);
                DynoBody::Full(bytes)
            }
            stream @ DynoBody::Stream(_) => stream,
        };
        let length = headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        self.entry.dyno = Some(dispatched.dyno);
        self.entry.release = Some(dispatched.release);
        self.entry.queue = dispatched.queue;
        self.entry.status = status.as_u16();
        let figures = dispatched.figures;
        let on_end: OnEnd = Box::new(move |end: End| {
            self.entry.bytes = end.bytes;
            self.entry.service = self.started.elapsed().saturating_sub(self.entry.queue);
            self.entry.cpu = figures.cpu();
            self.entry.memory = figures.memory();
            let failure = match end.outcome {
                Outcome::Complete => None,
                Outcome::DynoGone => Some(Failure::ClosedWithoutResponse),
                Outcome::ClientGone => Some(Failure::ClientInterrupted),
            };
            grid.log(&app, self.entry.line(failure.as_ref()));
        });
        response.map(|()| ResponseBody::new(source, length, Some(on_end)))
    }
}

/// Logs a request whose client went away before it was answered.
struct Watch<G: Grid> {
    grid: Arc<G>,
    app: corundum_sdk::names::AppName,
    exchange: Option<Exchange>,
}

impl<G: Grid> Drop for Watch<G> {
    fn drop(&mut self) {
        let Some(mut exchange) = self.exchange.take() else {
            return;
        };
        exchange.entry.status = Failure::ClientInterrupted.status().as_u16();
        exchange.entry.service = exchange.started.elapsed();
        self.grid.log(
            &self.app,
            exchange.entry.line(Some(&Failure::ClientInterrupted)),
        );
    }
}
