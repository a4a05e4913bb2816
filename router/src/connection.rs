//! Serving one connection, plain or TLS, from its first byte to its end.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::body::response_body::ResponseBody;
use crate::client_info::ClientInfo;
use crate::connection_state::{ConnectionState, RequestHandle, TrackedBody};
use crate::grid::Grid;
use crate::http1::validator::{HttpVersion, ValidatingIo};
use crate::limits::ServerLimits;
use crate::proxy::access_log::AccessLog;
use crate::proxy::request;
use crate::router::Router;
use crate::shutdown::{ShutdownPhase, reached};
use crate::websocket::tunnel::Tunnel;

/// Bytes of a stream's body that an HTTP/2 client may send before the router reads them. No more than the router
/// buffers of a body before it takes a dyno, so that opening streams occupies no more memory than opening connections.
const STREAM_WINDOW: u32 = 256 << 10;
/// Bytes that an HTTP/2 client may send ahead on all streams of a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of a head as HTTP/2 counts them, which adds 32 to each field (RFC 9113 section 6.5.2): enough for every head
/// that the router takes, the pieces of cookies included.
const HEADER_LIST: u32 = (crate::http1::MAX_HEAD + (16 << 10)) as u32;
/// Bytes of a response that hyper holds for an HTTP/2 stream whose client does not read them.
const STREAM_SEND_BUFFER: usize = 256 << 10;

/// Serves the connections of one listener.
pub(crate) struct ConnectionHandler<G> {
    router: Arc<Router<G>>,
    limits: ServerLimits,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    stop: watch::Receiver<ShutdownPhase>,
}

impl<G: Grid> ConnectionHandler<G> {
    /// Creates a handler that serves with `limits` until `stop` announces a shutdown.
    pub(crate) fn new(
        router: Arc<Router<G>>,
        limits: ServerLimits,
        stop: watch::Receiver<ShutdownPhase>,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            // The validator times heads itself, so that late ones get an answer (408).
            .header_read_timeout(None)
            .max_headers(router.limits.request_headers)
            .max_buf_size(limits.buffer);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(HEADER_LIST)
            .max_pending_accept_reset_streams(limits.resets)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_SEND_BUFFER)
            // WebSockets (RFC 8441).
            .enable_connect_protocol()
            .keep_alive_interval(Duration::from_secs(20));
        Self {
            router,
            limits,
            http1,
            http2,
            stop,
        }
    }

    /// Serves one connection until it ends.
    pub(crate) async fn serve<S>(&self, stream: S, client: ClientInfo)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if let Err(error) = self.serve_requests(stream, client).await {
            tracing::debug!(%error, "connection failed");
        }
    }

    async fn serve_requests<S>(&self, stream: S, client: ClientInfo) -> Result<(), ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut stop = self.stop.clone();
        let state = Arc::new(ConnectionState::default());
        let (head, fields) = (self.limits.head, self.router.limits.request_headers);
        let mut stream = ValidatingIo::new(stream, state.clone(), head, fields);
        loop {
            // No parser exists while the connection is idle: hyper's keeps an 8 KiB read buffer and its state.
            let limit = if state.has_started() {
                self.limits.idle
            } else {
                head
            };
            let version = tokio::select! {
                version = tokio::time::timeout(limit, stream.detect_version()) => version,
                () = reached(&mut stop, ShutdownPhase::Ending) => return Ok(()),
            };
            let Ok(Ok(Some(protocol))) = version else {
                return Ok(());
            };
            let service = self.service(client.clone(), state.clone());
            if tracing::enabled!(tracing::Level::DEBUG) {
                tracing::Span::current().record("protocol", protocol.as_str());
            }
            match protocol {
                HttpVersion::Http2 => return self.http2(stream, service, &state, &mut stop).await,
                HttpVersion::Http1 => match self.http1(stream, service, &state, &mut stop).await? {
                    Some(idle) => stream = idle,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Serves HTTP/1 until the connection ends or becomes idle; an idle stream is returned.
    async fn http1<S>(
        &self,
        stream: ValidatingIo<S>,
        service: impl HttpService,
        state: &ConnectionState,
        stop: &mut watch::Receiver<ShutdownPhase>,
    ) -> Result<Option<ValidatingIo<S>>, ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = self.http1.serve_connection(TokioIo::new(stream), service);
        // Boxed, so that an idle connection does not reserve memory for it.
        let mut connection = Box::pin(connection);
        tokio::select! {
            biased;
            result = &mut connection => {
                result?;
                if let Some(tunnel) = state.take_tunnel() {
                    let parts = std::pin::Pin::into_inner(connection).into_parts();
                    let ending = reached(stop, ShutdownPhase::Ending);
                    tunnel_through(*tunnel, parts.io.into_inner(), parts.read_buf, ending).await;
                }
                return Ok(None);
            }
            () = state.aborted() => return Ok(None),
            () = state.idle_for(self.limits.park) => {
                let parts = std::pin::Pin::into_inner(connection).into_parts();
                return Ok(Some(parts.io.into_inner()));
            }
            () = reached(stop, ShutdownPhase::Ending) => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            result = connection => Ok(result.map(|()| None)?),
            () = state.aborted() => Ok(None),
        }
    }

    /// Serves HTTP/2 until the connection ends or has been idle for too long.
    async fn http2<S>(
        &self,
        stream: ValidatingIo<S>,
        service: impl HttpService,
        state: &ConnectionState,
        stop: &mut watch::Receiver<ShutdownPhase>,
    ) -> Result<(), ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = self.http2.serve_connection(TokioIo::new(stream), service);
        let mut connection = Box::pin(connection);
        tokio::select! {
            biased;
            result = &mut connection => return Ok(result?),
            () = state.aborted() => return Ok(()),
            () = state.idle_for(self.limits.idle) => {}
            () = reached(stop, ShutdownPhase::Closing) => {}
        }
        connection.as_mut().graceful_shutdown();
        // A client that neither closes the connection nor sends a request would keep it open forever.
        tokio::select! {
            result = &mut connection => Ok(result?),
            () = state.aborted() => Ok(()),
            () = state.idle_for(self.limits.idle) => Ok(()),
        }
    }

    fn service(&self, client: ClientInfo, state: Arc<ConnectionState>) -> impl HttpService {
        let router = self.router.clone();
        let stop = self.stop.clone();
        hyper::service::service_fn(move |request: Request<Incoming>| {
            let stop = stop.clone();
            let http1 = request.version() < http::Version::HTTP_2;
            let in_flight = state.begin();
            let handle = in_flight.handle();
            let served = match handle.refusal() {
                Some(failure) => {
                    request::ready_response(refused(failure, request, &client, handle))
                }
                None => request::serve(&router, &client, request, handle, &stop),
            };
            async move {
                let mut response = served.await;
                if http1 && *stop.borrow() != ShutdownPhase::Serving {
                    close_after(&mut response);
                }
                Ok::<_, Infallible>(response.map(|body| in_flight.track(body)))
            }
        })
    }
}

/// Joins an HTTP/1 connection that has switched protocols with the dyno's end. `parsed` are bytes that were read after the request.
async fn tunnel_through<S>(
    tunnel: Tunnel,
    stream: ValidatingIo<S>,
    parsed: Bytes,
    ending: impl Future<Output = ()>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // A client that has sent bytes which are no HTTP before it had an answer broke the protocol.
    if let Some((stream, held)) = stream.into_stream() {
        let read_ahead = [parsed, held.freeze()].concat();
        tunnel.run(stream, read_ahead.into(), ending).await;
    }
}

/// Any error that ends a connection.
type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

/// Answers a request that the validator rejected; `request` is the placeholder that hyper parsed in its place.
fn refused(
    failure: &crate::failure::Failure,
    request: Request<Incoming>,
    client: &ClientInfo,
    handle: &RequestHandle,
) -> Response<ResponseBody> {
    let (parts, _) = request.into_parts();
    let mut response = AccessLog::new(&parts, client, handle).error_page(failure, &parts);
    close_after(&mut response);
    response
}

/// Marks a response as the last of its connection.
fn close_after(response: &mut Response<ResponseBody>) {
    let close = http::HeaderValue::from_static("close");
    response
        .headers_mut()
        .insert(http::header::CONNECTION, close);
}

/// The service type that hyper expects.
pub(crate) trait HttpService:
    Service<
        Request<Incoming>,
        Response = Response<TrackedBody<ResponseBody>>,
        Error = Infallible,
        Future: Future<Output = Result<Response<TrackedBody<ResponseBody>>, Infallible>>
                    + Send
                    + 'static,
    > + Send
    + Unpin
    + 'static
{
}

impl<T> HttpService for T where
    T: Service<
            Request<Incoming>,
            Response = Response<TrackedBody<ResponseBody>>,
            Error = Infallible,
            Future: Future<Output = Result<Response<TrackedBody<ResponseBody>>, Infallible>>
                        + Send
                        + 'static,
        > + Send
        + Unpin
        + 'static
{
}
