//! The admin listener: `/metrics`, `/healthz` and `/readyz`.
//!
//! It must answer when nothing else does, so it shares nothing with the router that can be exhausted: it has its own thread
//! and runtime, its own connection limit, and reserved file descriptors. The endpoints are unauthenticated, since they
//! change nothing; they list app names, so the address is that of the loopback interface unless the operator sets another.

mod reserved_fds;

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// Reasons that `/readyz` prints; the log has all of them.
const MAX_REASONS: usize = 20;

/// The answer of `/readyz`: a load balancer sends requests to a ready node only.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<NodeState>);

/// A node's state, as `/readyz` reports it.
#[derive(Debug, Default)]
enum NodeState {
    #[default]
    Starting,
    Ready,
    /// The node serves what it could load.
    Failed(Vec<String>),
    Stopping,
}

impl Readiness {
    /// Reports the end of loading, with the store's errors. Without errors, every app can be served and the node is ready.
    pub fn set_loaded(&self, errors: Vec<String>) {
        let mut state = self.state();
        // A node that is stopped while it starts stays stopping.
        if matches!(*state, NodeState::Starting) {
            *state = if errors.is_empty() {
                NodeState::Ready
            } else {
                NodeState::Failed(errors)
            };
        }
    }

    /// Reports that the node serves its last requests.
    pub fn set_stopping(&self) {
        *self.state() = NodeState::Stopping;
    }

    fn answer(&self) -> (StatusCode, Bytes) {
        match &*self.state() {
            NodeState::Starting => unavailable("starting\n"),
            NodeState::Ready => (StatusCode::OK, Bytes::from_static(b"ready\n")),
            NodeState::Failed(reasons) => {
                let mut text = String::from("not ready: the store has errors\n");
                for reason in reasons.iter().take(MAX_REASONS) {
                    text.push_str(reason);
                    text.push('\n');
                }
                (StatusCode::SERVICE_UNAVAILABLE, text.into())
            }
            NodeState::Stopping => unavailable("stopping\n"),
        }
    }

    fn state(&self) -> MutexGuard<'_, NodeState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(text: &'static str) -> (StatusCode, Bytes) {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        Bytes::from_static(text.as_bytes()),
    )
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
    // Clients show no token here, so the oldest connection of too many ends.
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
        return plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET is served here.\n");
    }
    match request.uri().path() {
        "/metrics" => {
            let mut response = plain(StatusCode::OK, metrics::page(&state.metrics));
            let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        "/healthz" => plain(StatusCode::OK, "alive\n"),
        "/readyz" => {
            let (status, text) = state.readiness.answer();
            match state.metrics.grid.shortage() {
                Some(shortage) if status == StatusCode::OK => plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("not ready: {shortage}\n"),
                ),
                _ => plain(status, text),
            }
        }
        _ => plain(
            StatusCode::NOT_FOUND,
            "There are /metrics, /healthz and /readyz here.\n",
        ),
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
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
        readiness.set_loaded(Vec::new());
        assert_eq!(readiness.answer(), (StatusCode::OK, "ready\n".into()));
        readiness.set_stopping();
        readiness.set_loaded(Vec::new());
        assert_eq!(readiness.answer().1, "stopping\n");
    }

    #[test]
    fn node_with_errors_of_its_store_is_not_ready_and_says_why() {
        let readiness = Readiness::default();
        readiness.set_loaded(vec!["store: damaged: x".to_owned()]);
        let (status, text) = readiness.answer();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains("\nstore: damaged: x\n"), "{text}");
    }
}
