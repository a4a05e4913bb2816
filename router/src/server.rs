//! Listeners and connections: HTTP/1.1 and, by prior knowledge, HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::connection::{Connection, Hosts};
use crate::grid::Grid;
use crate::router::Router;
use crate::service;
use crate::traffic::Traffic;

/// Milliseconds that a client may leave what it was sent without reading on. A dyno is long free by then; the connection
/// would stay for as long as the client likes.
const UNREAD: u32 = 60_000;

/// Limits of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at once. Each takes a descriptor, of which a process has 1,024 unless it asks for more, and some
    /// kilobytes; further ones wait in the kernel's queue.
    pub connections: usize,
    /// For a request's head to arrive (408).
    pub head: Duration,
    /// Headers of a request (431).
    pub headers: usize,
    /// Bytes of a request's head, or of what is read ahead.
    pub buffer: usize,
    /// For running requests to end when the router is stopped.
    pub drain: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            head: Duration::from_secs(30),
            headers: 100,
            buffer: 128 << 10,
            drain: Duration::from_secs(30),
        }
    }
}

/// Serves connections of `listener` until `stop` is done; then lets running requests end.
pub async fn run<G: Grid>(
    listener: TcpListener,
    router: Arc<Router<G>>,
    limits: ServerLimits,
    stop: impl Future<Output = ()>,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Without a timer the timeout below would be silent.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(limits.headers)
        .max_buf_size(limits.buffer);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_header_list_size(64 << 10)
        .keep_alive_interval(Duration::from_secs(20));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut stop = std::pin::pin!(stop);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: a pause lets some be closed, and keeps this loop from spinning.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let _ = set_tcp_user_timeout(&stream, UNREAD);
        let local: SocketAddr = stream.local_addr().unwrap_or(peer);
        let seen = Connection {
            peer,
            local,
            tls: false,
            hosts: Hosts::Any,
        };
        let router = router.clone();
        let open = router.figures.connection();
        let traffic = Arc::new(Traffic::default());
        let counted = traffic.clone();
        let service = service_fn(move |request| {
            let (router, seen) = (router.clone(), seen.clone());
            let under_way = counted.begin();
            async move {
                let response = service::serve(router, seen, request).await;
                Ok::<_, std::convert::Infallible>(response.map(|body| under_way.hold(body)))
            }
        });
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                result = connection => if let Err(error) = result {
                    tracing::debug!(%error, %peer, "connection");
                },
                () = traffic.idle(limits.head) => {}
            }
            drop((place, open));
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(limits.drain, graceful.shutdown()).await;
}
