//! Listeners: accept connections, over plain TCP or TLS, and shut down gracefully.
//!
//! Each connection speaks HTTP/1.1 or HTTP/2, the latter by ALPN or with prior knowledge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tracing::{Instrument, debug_span, field};

use crate::client_info::ClientInfo;
use crate::connection::ConnectionHandler;
use crate::grid::Grid;
pub use crate::limits::ServerLimits;
use crate::router::Router;
use crate::shutdown::ShutdownPhase;
use crate::tls;
use crate::tls::certificates::Certificates;

/// Milliseconds after which the kernel closes a connection whose client neither acknowledges nor reads what was sent
/// (`TCP_USER_TIMEOUT`). The dyno is free long before; without this bound a client could keep the connection open forever.
const UNACKNOWLEDGED_TIMEOUT: u32 = 60_000;

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
    let handler = Arc::new(ConnectionHandler::new(
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
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let _ = set_tcp_user_timeout(&stream, UNACKNOWLEDGED_TIMEOUT);
        let local: SocketAddr = stream.local_addr().unwrap_or(peer);
        let client = ClientInfo {
            tls: matches!(security, Security::Tls(_)),
            is_proxy: router.trusted_proxies.contain(peer.ip()),
            ..ClientInfo::new(peer, local)
        };
        let (handler, open) = (handler.clone(), router.metrics.connection());
        let (security, handshake_timeout, encrypted) =
            (security.clone(), limits.handshake, client.tls);
        let serve = async move {
            match security {
                Security::Plain => handler.serve(stream, client).await,
                Security::Tls(certificates) => {
                    if let Some(established) =
                        tls::handshake::accept(&certificates, stream, handshake_timeout).await
                    {
                        let hosts = established.hosts;
                        let client = ClientInfo { hosts, ..client };
                        // Boxed, so that tasks of plain connections do not reserve memory for the TLS stream.
                        Box::pin(handler.serve(established.stream, client)).await;
                    }
                }
            }
            drop((permit, open));
        };
        // A span is stored in its task. While it is disabled, idle connections do not pay for it.
        if tracing::enabled!(tracing::Level::DEBUG) {
            let protocol = field::Empty;
            let span = debug_span!("connection", %peer, tls = encrypted, protocol);
            tokio::spawn(serve.instrument(span));
        } else {
            tokio::spawn(serve);
        }
    }
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let ended = || permits.acquire_many(all);
    let linger = limits.linger.min(limits.drain);
    let _ = stopping.send(ShutdownPhase::Closing);
    if tokio::time::timeout(linger, ended()).await.is_err() {
        let _ = stopping.send(ShutdownPhase::Ending);
        let _ = tokio::time::timeout(limits.drain - linger, ended()).await;
    }
}
