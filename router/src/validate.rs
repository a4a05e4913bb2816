//! Checks of a request before anything serves it, for every version of HTTP.
//!
//! The form of an HTTP/1 head is checked earlier, by [`http1`](crate::http1).

use http::header::EXPECT;
use http::request::Parts;
use http::{Method, StatusCode, Version};

use crate::client_info::ClientInfo;
use crate::failure::Failure;
use crate::headers::content_length;
use crate::http2_head;
use crate::virtual_host::VirtualHost;
use crate::websocket;

fn refuse<T>(status: StatusCode, why: &'static str) -> Result<T, Failure> {
    Err(Failure::Request(status, why))
}

/// Rejects a request that no dyno should see. A head may have `max_headers` fields.
///
/// # Errors
///
/// H31 if the connection's certificate is not for the host, otherwise H26 with a status of its own.
pub(crate) fn validate_request(
    parts: &Parts,
    host: &str,
    virtual_host: &VirtualHost,
    client: &ClientInfo,
    max_headers: usize,
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
    // The validator has measured heads of HTTP/1 already.
    if parts.version == Version::HTTP_2 {
        http2_head::validate(parts, max_headers)?;
    }
    target(parts)?;
    expectation(parts)?;
    if websocket::is_requested(parts) {
        websocket::validate(parts)?;
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
