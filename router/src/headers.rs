//! Headers of a proxied request: removes hop-by-hop fields, adds the forwarding headers.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, PROXY_AUTHENTICATE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

use crate::client_info::ClientInfo;
use crate::request_id::{REQUEST_ID, RequestId};

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Headers that belong to one connection (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes hop-by-hop headers: the fixed list, and those that `Connection` names except `Host` and `Content-Length`,
/// without which no message works.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Returns the declared length of a message's body; `None` if the header is missing or not a number.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Returns the complete `X-Forwarded-For` of a request, with this client as its last address.
pub(crate) fn forwarded_for(headers: &HeaderMap, client: &ClientInfo) -> Arc<str> {
    if !headers.contains_key(&FORWARDED_FOR) {
        return client.address.clone();
    }
    let earlier = headers
        .get_all(&FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = earlier.chain([&*client.address]).collect();
    all.join(", ").into()
}

/// Adds the headers in which the router describes a request to its app.
pub(crate) fn add_forwarding(headers: &mut HeaderMap, client: &ClientInfo, id: &RequestId) {
    let forwarded = forwarded_for(headers, client);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(FORWARDED_FOR, &forwarded);
    set(
        HeaderName::from_static("x-forwarded-proto"),
        client.scheme(),
    );
    set(
        HeaderName::from_static("x-forwarded-port"),
        &client.local.port().to_string(),
    );
    set(HeaderName::from_static("x-request-start"), &now.to_string());
    headers.insert(REQUEST_ID, id.header());
    // Announces support for `Surrogate-Control` (W3C Edge Architecture).
    let capability = HeaderValue::from_static("corundum=\"Surrogate/1.0\"");
    headers.insert(HeaderName::from_static("surrogate-capability"), capability);
    headers.append(http::header::VIA, HeaderValue::from_static("1.1 corundum"));
}
