//! WebSockets: a dyno takes the client's connection over, and the router passes bytes on.
//!
//! A request with `Upgrade: websocket` (RFC 6455), or HTTP/2's extended CONNECT (RFC 8441), goes to a dyno with one end of a pair of
//! sockets. If the app takes it over (`rack.hijack`), it writes its response there (`proxy/handshake.rs`), and the two ends are joined
//! ([`tunnel`]) until one of them closes. [`frames`] finds the boundary between two frames, so that the router can close with a
//! status (1001) when the dyno's release is replaced.

mod frames;
pub(crate) mod tunnel;

use http::header::{CONNECTION, HeaderName, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use hyper::ext::Protocol;

use crate::failure::Failure;

/// The protocol's name in `Upgrade`.
pub(crate) const PROTOCOL: &str = "websocket";
const SEC_WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
pub(crate) const SEC_WEBSOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// The key in requests of HTTP/2, which has none: its answer is not passed on (RFC 8441 section 5.1).
const KEY_OF_HTTP2: HeaderValue = HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA==");

/// Marks a request that asks to become a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WebSocketRequest;

/// Finds out whether a request asks to become a WebSocket, and marks it. One of HTTP/2 is brought into the form of HTTP/1.1, in which
/// apps know it.
pub(crate) fn detect(parts: &mut Parts) {
    let is_extended = parts.method == Method::CONNECT
        && parts
            .extensions
            .get::<Protocol>()
            .is_some_and(|protocol| protocol.as_str() == PROTOCOL);
    if is_extended {
        parts.method = Method::GET;
        parts.headers.insert(SEC_WEBSOCKET_KEY, KEY_OF_HTTP2);
        parts.extensions.insert(WebSocketRequest);
    } else if parts.version == Version::HTTP_11 && asks_for_websocket(&parts.headers) {
        parts.extensions.insert(WebSocketRequest);
    }
}

/// Returns whether a request is marked.
pub(crate) fn is_requested(parts: &Parts) -> bool {
    parts.extensions.get::<WebSocketRequest>().is_some()
}

/// Checks the form of a request that asks to become a WebSocket (RFC 6455 section 4.1).
///
/// # Errors
///
/// H26 with 400.
pub(crate) fn validate(parts: &Parts) -> Result<(), Failure> {
    let bad = |why| Err(Failure::Request(StatusCode::BAD_REQUEST, why));
    if parts.method != Method::GET {
        return bad("A WebSocket begins with GET.");
    }
    let mut keys = parts.headers.get_all(SEC_WEBSOCKET_KEY).iter();
    if keys.next().is_none() || keys.next().is_some() {
        return bad("A WebSocket's request has one Sec-WebSocket-Key.");
    }
    Ok(())
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let lists = |name, wanted: &str| {
        let values = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut words = values.flat_map(|value| value.split(','));
        words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    headers.contains_key(UPGRADE) && lists(UPGRADE, PROTOCOL) && lists(CONNECTION, "upgrade")
}
