//! The response of an app that takes the connection over: it writes HTTP/1.1 to the connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use corundum_exchange::{ClientConnection, ConnectionLink, RequestBody};
use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::context::RequestContext;
use super::dispatch::UpstreamResponse;
use super::reply::ServedBy;
use crate::failure::Failure;
use crate::grid::Grid;
use crate::headers;
use crate::websocket::tunnel::LinkGuard;
use crate::websocket::{PROTOCOL, SEC_WEBSOCKET_ACCEPT};

/// Time for the head of the response, as for any first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of the head.
const MAX_HEAD: usize = 64 << 10;
/// Fields of the head.
const MAX_FIELDS: usize = 100;

/// An app's answer to a request that asks to become a WebSocket.
pub(crate) enum WebSocketAnswer {
    /// The app has answered as any request.
    Answered(Box<UpstreamResponse>),
    /// The app has taken the connection over.
    Switched(Box<SwitchedConnection>),
}

/// A connection that an app has taken over.
pub(crate) struct SwitchedConnection {
    /// Headers of the response, for a client of HTTP/1.1.
    pub(crate) headers: HeaderMap,
    /// The dyno's end.
    pub(crate) guest: UnixStream,
    /// Bytes of the dyno that followed the head.
    pub(crate) first: BytesMut,
    pub(crate) link: LinkGuard,
    pub(crate) served_by: ServedBy,
}

/// Sends a request that asks to become a WebSocket to a dyno.
///
/// # Errors
///
/// The failure that the client gets: those of any request, H12 if the app takes the connection and writes no response, H13 if it
/// closes it, H17 if the response is not one of HTTP/1.1 with the status 101.
pub(crate) async fn open<G: Grid>(
    context: &RequestContext<G>,
    request: &Parts,
) -> Result<WebSocketAnswer, Failure> {
    let no_socket = |error: io::Error| {
        tracing::warn!(%error, "could not make the sockets of a connection");
        Failure::ConnectionLimit
    };
    let (guest, socket) = UnixStream::pair().map_err(no_socket)?;
    let socket = socket.into_std().map_err(no_socket)?;
    let link = Arc::<ConnectionLink>::default();
    let guard = LinkGuard(link.clone());
    let mut request = request.clone();
    // The app's library looks for these, which belong to each connection.
    request
        .headers
        .insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    request
        .headers
        .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let connection = RequestBody::Connection(ClientConnection { socket, link });
    let id = &context.request_id;
    let dispatched = context.send(request, id, Some(0), connection).await?;
    if dispatched.head.status != corundum_abi::CONNECTION_TAKEN {
        let upstream = context.receive(dispatched)?;
        return Ok(WebSocketAnswer::Answered(Box::new(upstream)));
    }
    let mut guest = guest;
    let mut first = BytesMut::new();
    let read = tokio::time::timeout(HEAD_TIMEOUT, read_head(&mut guest, &mut first));
    let headers = read.await.map_err(|_| Failure::RequestTimeout)??;
    Ok(WebSocketAnswer::Switched(Box::new(SwitchedConnection {
        headers,
        guest,
        first,
        link: guard,
        served_by: ServedBy {
            dyno: dispatched.dyno,
            release: dispatched.release,
            queue: dispatched.queue,
            usage: dispatched.usage,
        },
    })))
}

/// Reads the head of the app's response, and leaves what follows in `bytes`.
async fn read_head(guest: &mut UnixStream, bytes: &mut BytesMut) -> Result<HeaderMap, Failure> {
    loop {
        if let Some((headers, length)) = parse(bytes)? {
            let _ = bytes.split_to(length);
            return Ok(headers);
        }
        if bytes.len() > MAX_HEAD {
            return Err(Failure::HEAD_TOO_LARGE);
        }
        match guest.read_buf(bytes).await {
            Ok(0) | Err(_) => return Err(Failure::ClosedWithoutResponse),
            Ok(_) => {}
        }
    }
}

/// Parses a response. Returns its headers and the length of its head, or `None` if more bytes are needed.
fn parse(bytes: &[u8]) -> Result<Option<(HeaderMap, usize)>, Failure> {
    let malformed = |what: String| Failure::PoorlyFormatted(what);
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(bytes);
    let parsed = parsed.map_err(|error| malformed(format!("the hijacked connection: {error}")))?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    if status != StatusCode::SWITCHING_PROTOCOLS.as_u16() {
        return Err(malformed(format!(
            "status {status} on a hijacked connection, which is to switch protocols (101)"
        )));
    }
    let mut headers = HeaderMap::new();
    for field in response.headers.iter() {
        let shown = || malformed(format!("header {:?}", field.name));
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| shown())?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| shown())?;
        headers.append(name, value);
    }
    headers::strip_hop_by_hop(&mut headers);
    Ok(Some((headers, length)))
}

/// Returns the headers of the response to a client of HTTP/2 (RFC 8441 section 5.1), or of HTTP/1.1.
pub(crate) fn response_headers(mut headers: HeaderMap, is_http2: bool) -> HeaderMap {
    if is_http2 {
        headers.remove(SEC_WEBSOCKET_ACCEPT);
    } else {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_taken_from_what_follows() {
        let response =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: x=\r\nX-A: 1\r\n\r\n\x81\x02hi";
        for length in 0..response.len() - 4 {
            assert_eq!(parse(&response[..length]), Ok(None), "{length}");
        }
        let (headers, length) = parse(response).unwrap().unwrap();
        assert_eq!(&response[length..], b"\x81\x02hi");
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["sec-websocket-accept", "x-a"]);
        assert!(response_headers(headers.clone(), false).contains_key(UPGRADE));
        assert!(!response_headers(headers, true).contains_key(SEC_WEBSOCKET_ACCEPT));
    }

    #[test]
    fn anything_but_a_switch_of_protocols_is_poorly_formatted() {
        for text in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "\x00\x01\x02\x03",
            "HTTP/1.1 101 OK\r\nbad header\r\n\r\n",
            "HTTP/1.1 101 OK\r\na: \x01\r\n\r\n",
        ] {
            let failure = parse(text.as_bytes()).unwrap_err();
            assert!(
                matches!(failure, Failure::PoorlyFormatted(_)),
                "{text:?}: {failure:?}"
            );
        }
    }
}
