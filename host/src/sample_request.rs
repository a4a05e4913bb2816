//! The sample request that warms and tries a release: `GET /` at the app's own host.

use corundum_abi::scgi::{RequestHead, RequestHeadWriter};

/// Creates the head of the sample request for an app at `host`, a name that may have a port.
pub fn head(host: &str) -> RequestHead {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    let mut head = RequestHeadWriter::new(Vec::new(), Some(0));
    for (key, value) in [
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", "/"),
        ("QUERY_STRING", ""),
        ("REQUEST_URI", "/"),
        ("SERVER_NAME", name),
        ("SERVER_PORT", port),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("rack.url_scheme", "http"),
        ("HTTP_HOST", host),
        ("HTTP_USER_AGENT", "corundum"),
        ("HTTP_ACCEPT", "*/*"),
    ] {
        head.pair(key.as_bytes(), value.as_bytes());
    }
    head.finish()
}
