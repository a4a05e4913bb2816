//! The admin listener: `/metrics`, `/healthz` and `/readyz`.
//!
//! It must answer when nothing else does, so it shares nothing with the router that can be exhausted: it has its own thread
//! and runtime, its own connection limit, and reserved file descriptors. The endpoints are unauthenticated, since they
//! change nothing; they list app names, so the address is that of the loopback interface unless the operator sets another.

mod reserved_fds;

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use self::reserved_fds::ReservedFds;
use crate::connections::places::{ConnectionPlaces, PlaceLimits};
use crate::metrics::{self, NodeMetrics};

/// The most connections at once: a scraper or two, a supervisor's checks, and a person.
const CONNECTIONS: usize = 32;
/// The time for a connection, which has one request. A slower client loses its place to the next.
const CONNECTION: Duration = Duration::from_secs(10);

/// The answer of `/readyz`: a load balancer sends requests to a ready node only.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

impl Readiness {
    const STATES: [(StatusCode, &'static str); 3] = [
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        (StatusCode::OK, "ready\n"),
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    ];

    /// Reports that every app is loaded.
    pub fn set_ready(&self) {
        // A node that is stopped while it starts stays stopping.
        let _ = self
            .0
            .compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Reports that the node serves its last requests.
    pub fn set_stopping(&self) {
        self.0.store(2, Ordering::SeqCst);
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        Self::STATES[usize::from(self.0.load(Ordering::SeqCst)).min(2)]
    }
}

/// The state that the listener reports.
pub struct AdminState {
    /// The sources of `/metrics`.
    pub metrics: NodeMetrics,
    /// The state of `/readyz`.
    pub readiness: Arc<Readiness>,
    /// Notified when another process serves the listener.
    pub replaced: Arc<Notify>,
}

/// Starts the listener's thread, which runs until the process ends or another process serves the listener.
///
/// # Errors
///
/// The thread, its runtime or the reserved descriptors cannot be created.
pub fn start(listener: StdListener, state: AdminState) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let reserved = ReservedFds::new()?;
    let thread = std::thread::Builder::new().name("admin".to_owned());
    let started = thread.spawn(move || {
        runtime.block_on(async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => serve(listener, Arc::new(state), reserved).await,
                Err(error) => tracing::error!(%error, "could not serve the admin listener"),
            }
        });
    });
    started.map(drop)
}

async fn serve(listener: TcpListener, state: Arc<AdminState>, reserved: ReservedFds) {
    // Nobody shows a token here, so the oldest connection of too many ends.
    let places = ConnectionPlaces::new(PlaceLimits {
        newcomers: CONNECTIONS,
        clients: 0,
        of_one_client: 0,
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = state.replaced.notified() => return,
        };
        let (stream, lent) = match accepted {
            Ok((stream, _)) => (stream, None),
            // The process is out of descriptors: a reserved one takes the connection.
            Err(error) => match reserved.take() {
                Some(lent) => match listener.accept().await {
                    Ok((stream, _)) => (stream, Some(lent)),
                    Err(_) => continue,
                },
                None => {
                    tracing::warn!(%error, "could not accept an admin connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (state, place) = (state.clone(), places.enter());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&state, &request);
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = tokio::time::timeout(CONNECTION, connection) => {}
                () = place.evicted() => {}
            }
            // The order matters: the connection's descriptor is free by now.
            drop((lent, place));
        });
    }
}

fn answer(state: &AdminState, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "Only GET is served here.\n".to_owned(),
        );
    }
    match request.uri().path() {
        "/metrics" => {
            let mut response = plain(StatusCode::OK, metrics::page(&state.metrics));
            let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        "/healthz" => plain(StatusCode::OK, "alive\n".to_owned()),
        "/readyz" => {
            let (status, word) = state.readiness.answer();
            plain(status, word.to_owned())
        }
        _ => plain(
            StatusCode::NOT_FOUND,
            "There are /metrics, /healthz and /readyz here.\n".to_owned(),
        ),
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_ready_between_loading_and_stopping() {
        let readiness = Readiness::default();
        assert_eq!(readiness.answer().0, StatusCode::SERVICE_UNAVAILABLE);
        readiness.set_ready();
        assert_eq!(readiness.answer(), (StatusCode::OK, "ready\n"));
        readiness.set_stopping();
        readiness.set_ready();
        assert_eq!(readiness.answer().1, "stopping\n");
    }
}
