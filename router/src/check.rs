//! What is refused before anything is asked: requests that cannot be served as they are.

use http::header::{EXPECT, HOST};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::failure::Failure;

/// A request line may be this long (Heroku's limit).
const MAX_TARGET: usize = 8192;
/// So may a header's value.
const MAX_HEADER: usize = 8192;

/// Checks what no dyno should see; returns the host's name.
pub(crate) fn check(parts: &Parts) -> Result<String, Failure> {
    let refuse = |status, why| Err(Failure::Request(status, why));
    if parts.method == Method::CONNECT {
        return refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "This is no proxy: CONNECT is not served.",
        );
    }
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET {
        return refuse(
            StatusCode::URI_TOO_LONG,
            "The request line is longer than 8192 bytes.",
        );
    }
    if parts.headers.values().any(|value| value.len() > MAX_HEADER) {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return refuse(status, "A header line is longer than 8192 bytes.");
    }
    let expect = parts.headers.get(EXPECT);
    if expect.is_some_and(|expect| !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return refuse(
            StatusCode::EXPECTATION_FAILED,
            "The only known expectation is 100-continue.",
        );
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (parts.uri.authority(), hosts.next(), hosts.next()) {
        (_, Some(_), Some(_)) => None,
        (Some(authority), ..) => Some(authority.host()),
        (None, Some(host), None) => host.to_str().ok().map(without_port),
        (None, None, _) => None,
    };
    match host {
        Some(host) if !host.is_empty() => Ok(host.to_ascii_lowercase()),
        _ => refuse(
            StatusCode::BAD_REQUEST,
            "The request does not name one host.",
        ),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}
