//! Checks of a request before anything serves it, for every version of HTTP.
//!
//! The form of an HTTP/1 head is checked earlier, by [`http1`](crate::http1).

use std::sync::Arc;

use http::header::{CONNECTION, EXPECT, HOST, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Version};

use crate::client_info::ClientInfo;
use crate::failure::Failure;
use crate::headers::content_length;
use crate::virtual_host::VirtualHost;

/// Bytes of a request line (Heroku's limit).
pub(crate) const MAX_TARGET: usize = 8192;
/// Bytes of a header line (Heroku's limit).
pub(crate) const MAX_HEADER: usize = 8192;

fn refuse<T>(status: StatusCode, why: &'static str) -> Result<T, Failure> {
    Err(Failure::Request(status, why))
}

/// Returns the host name to route by, in lower case and without its port: the target's authority if it has one,
/// otherwise the `Host` header (RFC 9112 section 3.2.2; RFC 9113 section 8.3.1).
pub(crate) fn host(parts: &Parts) -> Result<Arc<str>, Failure> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => None,
        (None, None) => parts.uri.authority().map(http::uri::Authority::as_str),
        (Some(host), None) => host
            .to_str()
            .ok()
            .filter(|host| is_host(host))
            .map(|host| parts.uri.authority().map_or(host, |target| target.as_str())),
    };
    // HTTP/1.1 requires the header whatever form the target has.
    let named =
        named.filter(|_| parts.version != Version::HTTP_11 || parts.headers.contains_key(HOST));
    // An HTTP/2 request that names two hosts, or a user before its host, is malformed (RFC 9113 section 8.3.1).
    let http2 = parts.version == Version::HTTP_2;
    let named = named.filter(|named| !http2 || names_plainly(parts, named));
    let named = named.map(|named| named.rsplit_once('@').map_or(named, |(_, host)| host));
    match named.filter(|named| is_host(named)).map(without_port) {
        Some(name) if !name.is_empty() => Ok(lower_case(name)),
        _ => refuse(
            StatusCode::BAD_REQUEST,
            "The request does not name one host.",
        ),
    }
}

fn lower_case(name: &str) -> Arc<str> {
    let mut lower: Arc<str> = name.into();
    if let Some(letters) = Arc::get_mut(&mut lower) {
        letters.make_ascii_lowercase();
    }
    lower
}

fn names_plainly(parts: &Parts, named: &str) -> bool {
    let header = parts.headers.get(HOST);
    let agrees =
        |header: &http::HeaderValue| header.as_bytes().eq_ignore_ascii_case(named.as_bytes());
    !named.contains('@') && header.is_none_or(agrees)
}

/// Rejects a request that no dyno should see.
///
/// # Errors
///
/// H31 if the connection's certificate is not for the host, otherwise H26 with a status of its own.
pub(crate) fn validate_request(
    parts: &Parts,
    host: &str,
    virtual_host: &VirtualHost,
    client: &ClientInfo,
) -> Result<(), Failure> {
    if !client.hosts.allow(&virtual_host.app, host) {
        return Err(Failure::Misdirected);
    }
    if parts.method == Method::CONNECT {
        return refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "This is no proxy: CONNECT is not served.",
        );
    }
    lengths(parts)?;
    target(parts)?;
    expectation(parts)?;
    if wants_websocket(&parts.headers) {
        return refuse(
            StatusCode::NOT_IMPLEMENTED,
            "Apps cannot take WebSockets here yet: use requests, or a stream of events.",
        );
    }
    let length = content_length(&parts.headers);
    if length.is_some_and(|length| length > virtual_host.max_body) {
        return Err(body_too_large());
    }
    Ok(())
}

/// Returns the failure of a request whose body exceeds the app's quota (413).
pub(crate) fn body_too_large() -> Failure {
    Failure::Request(
        StatusCode::PAYLOAD_TOO_LARGE,
        "The request's body is larger than this app takes.",
    )
}

fn lengths(parts: &Parts) -> Result<(), Failure> {
    let target = parts.uri.path_and_query();
    if target.map_or(0, |target| target.as_str().len()) > MAX_TARGET {
        return refuse(
            StatusCode::URI_TOO_LONG,
            "The request line is longer than 8192 bytes.",
        );
    }
    if parts.headers.values().any(|value| value.len() > MAX_HEADER) {
        return refuse(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "A header line is longer than 8192 bytes.",
        );
    }
    Ok(())
}

/// Rejects a NUL in the path: CGI cannot carry one, and no app expects one.
fn target(parts: &Parts) -> Result<(), Failure> {
    if parts.uri.path().contains("%00") {
        return refuse(StatusCode::BAD_REQUEST, "The path holds a NUL byte (%00).");
    }
    Ok(())
}

/// Rejects expectations other than `100-continue` (RFC 9110 section 10.1.1). HTTP/1.0 does not know the header.
fn expectation(parts: &Parts) -> Result<(), Failure> {
    let known =
        |expect: &http::HeaderValue| expect.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if parts.version != Version::HTTP_10 && !parts.headers.get_all(EXPECT).iter().all(known) {
        return refuse(
            StatusCode::EXPECTATION_FAILED,
            "The only known expectation is 100-continue.",
        );
    }
    Ok(())
}

/// Returns whether a client would take any response but a switch to WebSocket for a broken one. Other upgrades are
/// offers, which a server may ignore (RFC 9110 section 7.8).
fn wants_websocket(headers: &HeaderMap) -> bool {
    let lists = |name, wanted: &str| {
        let values = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut words = values.flat_map(|value| value.split(','));
        words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    headers.contains_key(UPGRADE) && lists(UPGRADE, "websocket") && lists(CONNECTION, "upgrade")
}

/// Returns whether `text` is a host with an optional port (RFC 9110 section 7.2, RFC 3986 section 3.2.2).
fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if !address.is_empty() => {
            let address = address
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || b":.".contains(&b));
            if !address {
                return false;
            }
            ("", port)
        }
        _ => text
            .find(':')
            .map_or((text, ""), |colon| text.split_at(colon)),
    };
    let name_is_good = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(&b));
    let port_is_good = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some("") => true,
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
    };
    name_is_good && port_is_good
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_a_name_or_address_with_an_optional_port() {
        for good in [
            "a.example",
            "a.example:80",
            "a:",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:80",
            "x_y.a",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "a b", "a/b", "a@b", "a,b", "a:x", "a:80:80", "a:65536", "[::1", "[]", "[g]", "a\\b",
            "a\"b", "::1",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
