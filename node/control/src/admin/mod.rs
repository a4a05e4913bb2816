//! The operator's listener: `/metrics`, `/healthz` and `/readyz`.
//!
//! It must answer when nothing else does, so it shares nothing with the router that could be used up: it has a thread and
//! a runtime of its own, places of its own for connections, and descriptors that it has put by. It asks no token, since it
//! changes nothing; what it shows is for those who can reach its address, which is this machine's own unless the operator
//! says otherwise.

mod reserved_fds;

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use corundum_router::metrics::RouterMetrics;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

use self::reserved_fds::Spare;
use crate::metrics;
use crate::platform::Platform;

/// Connections at once: a scraper or two, a supervisor's checks, and somebody who looks.
const CONNECTIONS: usize = 32;
/// A connection has one request, and this long for all of it: whoever is slower gives their place to the next.
const CONNECTION: Duration = Duration::from_secs(10);

/// Whether the node should be sent requests.
#[derive(Debug, Default)]
pub(crate) struct Readiness(AtomicU8);

impl Readiness {
    const STATES: [(StatusCode, &'static str); 3] = [
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        (StatusCode::OK, "ready\n"),
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    ];

    /// Every app is loaded.
    pub(crate) fn set_ready(&self) {
        // A node that is told to stop while it starts stays stopping.
        let _ = self
            .0
            .compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Running requests end, and there will be no others.
    pub(crate) fn set_stopping(&self) {
        self.0.store(2, Ordering::SeqCst);
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        Self::STATES[usize::from(self.0.load(Ordering::SeqCst)).min(2)]
    }
}

/// What the listener tells of.
pub(crate) struct Admin {
    pub(crate) platform: Arc<Platform>,
    pub(crate) router: Arc<RouterMetrics>,
    pub(crate) readiness: Arc<Readiness>,
    /// Connections that the router takes at once.
    pub(crate) connections: usize,
    /// Told when another process serves the listener.
    pub(crate) replaced: Arc<Notify>,
}

/// Starts the listener's thread, which lives as long as the process, or until another serves it.
pub(crate) fn start(listener: StdListener, admin: Admin) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let spare = Spare::new()?;
    let thread = std::thread::Builder::new().name("admin".to_owned());
    let served = thread.spawn(move || {
        runtime.block_on(async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => serve(listener, Arc::new(admin), spare).await,
                Err(error) => tracing::error!(%error, "the admin listener"),
            }
        });
    });
    served.map(drop).context("the admin listener's thread")
}

async fn serve(listener: TcpListener, admin: Arc<Admin>, spare: Spare) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = admin.replaced.notified() => return,
        };
        let (stream, used) = match accepted {
            Ok((stream, _)) => (stream, None),
            // Out of descriptors: one of those that were put by takes the connection.
            Err(error) => match spare.take() {
                Some(used) => match listener.accept().await {
                    Ok((stream, _)) => (stream, Some(used)),
                    Err(_) => continue,
                },
                None => {
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&admin, &request);
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(CONNECTION, connection).await;
            // In this order: the connection's descriptor is free by now.
            drop((used, place));
        });
    }
}

fn answer(admin: &Admin, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "Only GET is served here.\n".to_owned(),
        );
    }
    match request.uri().path() {
        "/metrics" => {
            let mut response = plain(StatusCode::OK, metrics::page(admin));
            let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        "/healthz" => plain(StatusCode::OK, "alive\n".to_owned()),
        "/readyz" => {
            let (status, word) = admin.readiness.answer();
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
    fn a_node_is_ready_between_its_start_and_its_end() {
        let readiness = Readiness::default();
        assert_eq!(readiness.answer().0, StatusCode::SERVICE_UNAVAILABLE);
        readiness.set_ready();
        assert_eq!(readiness.answer(), (StatusCode::OK, "ready\n"));
        readiness.set_stopping();
        readiness.set_ready();
        assert_eq!(readiness.answer().1, "stopping\n");
    }
}
