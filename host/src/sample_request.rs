//! A sample request, which warms or tries a release: a `GET` at the app's own host.

use corundum_abi::scgi::{RequestHead, RequestHeadWriter};

/// Target of a sample request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleTarget {
    /// Host name of the app; it may have a port.
    pub host: String,
    /// Path, with the query if there is one.
    pub path: String,
    /// True if the request seems to come over TLS.
    pub https: bool,
}

impl SampleTarget {
    /// Returns the target `/` of an app, over plain HTTP.
    pub fn root(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            path: "/".to_owned(),
            https: false,
        }
    }

    /// Returns the head of the request.
    pub fn head(&self) -> RequestHead {
        let (scheme, port) = match self.https {
            true => ("https", "443"),
            false => ("http", "80"),
        };
        let (name, port) = self.host.rsplit_once(':').unwrap_or((&self.host, port));
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let mut head = RequestHeadWriter::new(Vec::new(), Some(0));
        for (key, value) in [
            ("REQUEST_METHOD", "GET"),
            ("SCRIPT_NAME", ""),
            ("PATH_INFO", path),
            ("QUERY_STRING", query),
            ("REQUEST_URI", &self.path),
            ("SERVER_NAME", name),
            ("SERVER_PORT", port),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("rack.url_scheme", scheme),
            ("HTTP_HOST", &self.host),
            ("HTTP_USER_AGENT", "corundum"),
            ("HTTP_ACCEPT", "*/*"),
            ("HTTP_X_FORWARDED_PROTO", scheme),
            ("HTTP_X_FORWARDED_PORT", port),
        ] {
            head.pair(key.as_bytes(), value.as_bytes());
        }
        head.finish()
    }
}
