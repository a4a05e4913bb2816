//! Listeners: accept connections, over plain TCP or TLS, and shut down gracefully.
//!
//! Each connection speaks HTTP/1.1 or HTTP/2, the latter by ALPN or with prior knowledge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::client_info::ClientInfo;
use crate::connection::{ConnectionHandler, ShutdownPhase};
use crate::grid::Grid;
use crate::router::Router;
use crate::tls;
use crate::tls::certificates::Certificates;

/// Milliseconds that sent bytes may stay unacknowledged before the kernel closes the connection (`TCP_USER_TIMEOUT`).
/// The dyno is free long before; without this bound a client could keep the connection open for ever.
const UNREAD: u32 = 60_000;

/// Limits of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Concurrent connections. Each takes some kilobytes and a descriptor, of which a process has 1,024 unless it
    /// raises its limit; further connections wait in the kernel's queue.
    pub connections: usize,
    /// Time for a TLS handshake to finish.
    pub handshake: Duration,
    /// Time for a request's head to arrive (408), and for the first byte of a connection.
    pub head: Duration,
    /// Time that a connection stays open without a request, after its first one.
    pub idle: Duration,
    /// Time without a request after which a connection frees everything but its socket.
    pub park: Duration,
    /// Concurrent requests on an HTTP/2 connection.
    pub streams: u32,
    /// Requests of an HTTP/2 connection that its client may reset before the router accepts them; one more closes the
    /// connection (CVE-2023-44487).
    pub resets: usize,
    /// Header fields of a request (431).
    pub headers: usize,
    /// Bytes that hyper reads ahead; more than a head may have.
    pub buffer: usize,
    /// Time for requests in flight to finish when the router stops.
    pub drain: Duration,
    /// Time that a connection without a request stays open when the router stops: a client that is about to send a
    /// request gets its answer, and learns that it has to open another connection.
    pub linger: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            park: Duration::from_secs(2),
            streams: 100,
            resets: 20,
            headers: 100,
            buffer: 128 << 10,
            drain: Duration::from_secs(30),
            linger: Duration::from_secs(3),
        }
    }
}

/// Serves the connections of `listener` until `stop` resolves, then lets requests in flight finish.
pub async fn run<G: Grid>(
    listener: TcpListener,
    router: Arc<Router<G>>,
    limits: ServerLimits,
    stop: impl Future<Output = ()>,
) {
    serve(listener, Security::Plain, router, limits, stop).await;
}

/// Serves the connections of `listener` over TLS. `certificates` may be replaced while the server runs.
pub async fn run_tls<G: Grid>(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    router: Arc<Router<G>>,
    limits: ServerLimits,
    stop: impl Future<Output = ()>,
) {
    serve(listener, Security::Tls(certificates), router, limits, stop).await;
}

/// Transport security of a listener's connections.
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
    let (stopping, stopped) = watch::channel(ShutdownPhase::Serving);
    let serving = Arc::new(ConnectionHandler::new(
        router.clone(),
        limits.clone(),
        stopped,
    ));
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut stop = std::pin::pin!(stop);
    loop {
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            () = &mut stop => break,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // The process is most likely out of descriptors. A pause lets some close, and keeps this loop from
                // spinning.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let _ = set_tcp_user_timeout(&stream, UNREAD);
        let local: SocketAddr = stream.local_addr().unwrap_or(peer);
        let seen = ClientInfo {
            tls: matches!(security, Security::Tls(_)),
            ..ClientInfo::new(peer, local)
        };
        let (serving, open) = (serving.clone(), router.metrics.connection());
        let (security, most) = (security.clone(), limits.handshake);
        tokio::spawn(async move {
            match security {
                Security::Plain => serving.connection(stream, seen).await,
                Security::Tls(certificates) => {
                    if let Some(secured) = tls::handshake::accept(&certificates, stream, most).await
                    {
                        let hosts = secured.hosts;
                        let seen = ClientInfo { hosts, ..seen };
                        // Boxed, so that tasks of plain connections do not reserve memory for the TLS stream.
                        Box::pin(serving.connection(secured.stream, seen)).await;
                    }
                }
            }
            drop((permit, open));
        });
    }
    drop(listener);
    let everyone = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let ended = || permits.acquire_many(everyone);
    let linger = limits.linger.min(limits.drain);
    let _ = stopping.send(ShutdownPhase::Closing);
    if tokio::time::timeout(linger, ended()).await.is_err() {
        let _ = stopping.send(ShutdownPhase::Ending);
        let _ = tokio::time::timeout(limits.drain - linger, ended()).await;
    }
}
