//! Listeners and connections: HTTP/1.1 and HTTP/2, the latter by ALPN or by prior knowledge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::connection::{Connection, Hosts};
use crate::grid::Grid;
use crate::router::Router;
use crate::service;
use crate::tls;
use crate::tls::certificates::Certificates;
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
    /// For a TLS handshake to be done.
    pub handshake: Duration,
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
            handshake: Duration::from_secs(10),
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
    serve(listener, Security::Plain, router, limits, stop).await;
}

/// The same over TLS. Certificates may be replaced meanwhile.
pub async fn run_tls<G: Grid>(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    router: Arc<Router<G>>,
    limits: ServerLimits,
    stop: impl Future<Output = ()>,
) {
    serve(listener, Security::Tls(certificates), router, limits, stop).await;
}

/// Whether a listener's connections are encrypted.
#[derive(Clone)]
enum Security {
    Plain,
    Tls(Arc<Certificates>),
}

async fn serve<G: Grid>(
    listener: TcpListener,
    security: Security,
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
    let builder = Arc::new(builder);
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
            tls: matches!(security, Security::Tls(_)),
            hosts: Hosts::Any,
        };
        let open = router.figures.connection();
        let serving = Serving {
            builder: builder.clone(),
            router: router.clone(),
            watcher: graceful.watcher(),
            head: limits.head,
        };
        let (security, most) = (security.clone(), limits.handshake);
        tokio::spawn(async move {
            match security {
                Security::Plain => serving.connection(stream, seen).await,
                Security::Tls(certificates) => {
                    if let Some(secured) = tls::accept::accept(&certificates, stream, most).await {
                        let hosts = secured.hosts;
                        let seen = Connection { hosts, ..seen };
                        // Boxed, so that plain connections take no room for what only these need.
                        Box::pin(serving.connection(secured.stream, seen)).await;
                    }
                }
            }
            drop((place, open));
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(limits.drain, graceful.shutdown()).await;
}

/// What a connection needs to be served.
struct Serving<G> {
    builder: Arc<auto::Builder<TokioExecutor>>,
    router: Arc<Router<G>>,
    watcher: Watcher,
    head: Duration,
}

impl<G: Grid> Serving<G> {
    /// Serves requests until the client has no more, says nothing for too long, or the router is stopped.
    async fn connection<S>(self, stream: S, seen: Connection)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = seen.peer;
        let traffic = Arc::new(Traffic::default());
        let counted = traffic.clone();
        let router = self.router;
        let service = service_fn(move |request| {
            let (router, seen) = (router.clone(), seen.clone());
            let under_way = counted.begin();
            async move {
                let response = service::serve(router, seen, request).await;
                Ok::<_, std::convert::Infallible>(response.map(|body| under_way.hold(body)))
            }
        });
        let connection = self
            .builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = self.watcher.watch(connection);
        tokio::select! {
            result = connection => if let Err(error) = result {
                tracing::debug!(%error, %peer, "connection");
            },
            () = traffic.idle(self.head) => {}
        }
    }
}
