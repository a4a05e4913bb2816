//! The listener of the API.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};

use super::router::Api;
use crate::connections::places::{ConnectionPlaces, Place, PlaceLimits};
use crate::connections::write_deadline::WriteDeadline;

/// The most connections at once, which the node's reserve of file descriptors has to hold: enough for a few people and
/// their scripts. One client cannot take the places of all others.
const PLACES: PlaceLimits = PlaceLimits {
    newcomers: 128,
    clients: 128,
    of_one_client: 64,
};

/// Time for a request's head, and between two requests.
const HEAD: Duration = Duration::from_secs(15);

/// Time for a connection to send a request with a valid token.
const NEWCOMER: Duration = Duration::from_secs(10);

/// Time for which a client may read nothing of a response. A log that somebody reads page by page waits that long.
const UNREAD: Duration = Duration::from_secs(5 * 60);

/// Time for a connection, even one that follows a log.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Time after which the kernel asks whether a silent client still exists.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Time that a takeover leaves to requests that it need not wait for.
const TAKEOVER_GRACE: Duration = Duration::from_secs(3);

/// Serves the listener until the task is aborted. Accepted connections go on.
pub(crate) async fn serve(listener: TcpListener, api: Arc<Api>) {
    let places = ConnectionPlaces::new(PLACES);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let place = Arc::new(places.enter());
                tokio::spawn(serve_connection(stream, api.clone(), place));
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection to the API");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, api: Arc<Api>, place: Arc<Place>) {
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(&stream, true);
    let _ = sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE);
    let service = service_fn(|request| {
        let (api, place) = (api.clone(), place.clone());
        async move { Ok::<_, Infallible>(api.respond(request, &place).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(WriteDeadline::new(stream, UNREAD)), service)
        // `run` makes the connection a stream, which it serves with a task of its own.
        .with_upgrades();
    let connection = pin!(connection);
    let stranger = async {
        tokio::time::sleep(NEWCOMER).await;
        if place.is_client() {
            std::future::pending::<()>().await;
        }
    };
    let superseded = async {
        loop {
            api.handed_over().await;
            tokio::time::sleep(TAKEOVER_GRACE).await;
            if place.is_dispensable() && api.is_handed_over() {
                return;
            }
        }
    };
    // Dropping the connection ends its request.
    tokio::select! {
        _ = connection => {}
        () = place.evicted() => {}
        () = stranger => {}
        () = superseded => {}
        () = tokio::time::sleep(LIFETIME) => {}
    }
}
