//! HTTP client of one gem server: bounded GET requests and their errors.

use std::io::{self, ErrorKind};
use std::sync::OnceLock;
use std::time::Duration;

use ureq::{Agent, Proxy, Timeout};

use super::server_url::GemServerUrl;

/// Time for a connection to a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Redirects of one request. A server commonly redirects to its storage, and the storage once more.
const MAX_REDIRECTS: u32 = 3;

/// A request without a usable response. The server or the network is at fault, unless a variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GemServerError {
    /// The server has no such file.
    #[error("{0}: not found")]
    NotFound(String),
    /// The server requires authentication: the app's author vendors the gem.
    #[error(
        "{url}: access denied (status {status}), and a build has no credentials; put the gem into vendor/cache (bundle cache does so)"
    )]
    Forbidden {
        /// Requested URL.
        url: String,
        /// Status 401, 403 or 407.
        status: u16,
    },
    /// The server returned another error status.
    #[error(
        "{url}: the gem server returned status {status}; push again later, or ask the server's operator"
    )]
    Status {
        /// Requested URL.
        url: String,
        /// Status of the response.
        status: u16,
    },
    /// No connection to the server can be made.
    #[error(
        "gem server {server}: cannot be reached: {reason}; push again later, or put the gems into vendor/cache (bundle cache does so)"
    )]
    Unreachable {
        /// URL of the server.
        server: String,
        /// Reason.
        reason: String,
    },
    /// The response took too long.
    #[error(
        "{url}: not received within {seconds} seconds; push again later, or put the gem into vendor/cache (bundle cache does so)"
    )]
    Slow {
        /// Requested URL.
        url: String,
        /// Time that the request had.
        seconds: u64,
    },
    /// The connection closed before the end of the response.
    #[error("{0}: received only in part; push again later, or ask the gem server's operator")]
    Truncated(String),
    /// The response exceeds its limit: the gem's authors are at fault.
    #[error("{url}: larger than {limit}, the limit of a build; use a smaller gem")]
    TooLarge {
        /// Requested URL.
        url: String,
        /// Limit, formatted.
        limit: String,
    },
    /// The server redirected the request too often.
    #[error(
        "{0}: redirected more than {MAX_REDIRECTS} times; ask the gem server's operator, or name the last address as the source"
    )]
    Redirects(String),
    /// The server redirected the request from HTTPS to HTTP.
    #[error(
        "{0}: redirected from https to http, which a build does not follow; ask the gem server's operator"
    )]
    Insecure(String),
    /// The response is not valid HTTP.
    #[error("{url}: invalid response ({reason}); ask the gem server's operator")]
    Protocol {
        /// Requested URL.
        url: String,
        /// Reason.
        reason: String,
    },
}

/// Client of one gem server that the operator allows.
pub(super) struct GemServerClient {
    url: GemServerUrl,
    agent: Agent,
    /// Error of the first failed connection. The build's other gems fail with it at once instead of waiting too.
    unreachable: OnceLock<GemServerError>,
}

impl GemServerClient {
    /// Creates a client that uses the proxy of the environment, except towards this machine.
    pub(super) fn new(url: GemServerUrl) -> Self {
        let proxy = if url.is_loopback() {
            None
        } else {
            Proxy::try_from_env()
        };
        let agent = Agent::config_builder()
            .https_only(url.is_https())
            .max_redirects(MAX_REDIRECTS)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("corundum/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy)
            .build()
            .into();
        Self {
            url,
            agent,
            unreachable: OnceLock::new(),
        }
    }

    /// Returns the URL of the server.
    pub(super) fn url(&self) -> &GemServerUrl {
        &self.url
    }

    /// Gets the file at `path` below the server's URL.
    ///
    /// It fails if the file has more than `limit` bytes or the whole request takes longer than `timeout`.
    pub(super) fn get(
        &self,
        path: &str,
        limit: u64,
        timeout: Duration,
    ) -> Result<Vec<u8>, GemServerError> {
        if let Some(error) = self.unreachable.get() {
            return Err(error.clone());
        }
        let url = format!("{}{path}", self.url);
        let answer = self.request(&url, limit, timeout);
        if let Err(error @ GemServerError::Unreachable { .. }) = &answer {
            let _ = self.unreachable.set(error.clone());
        }
        answer
    }

    fn request(&self, url: &str, limit: u64, timeout: Duration) -> Result<Vec<u8>, GemServerError> {
        let failed = |error| self.server_error(url, limit, timeout, error);
        let request = self.agent.get(url).config();
        let request = request.timeout_global(Some(timeout)).build();
        let response = request.call().map_err(failed)?;
        let status = response.status().as_u16();
        let known = url.to_owned();
        match status {
            200 => {}
            404 | 410 => return Err(GemServerError::NotFound(known)),
            401 | 403 | 407 => return Err(GemServerError::Forbidden { url: known, status }),
            _ => return Err(GemServerError::Status { url: known, status }),
        }
        let body = response.into_body();
        if body.content_length().is_some_and(|length| length > limit) {
            return Err(failed(ureq::Error::BodyExceedsLimit(limit)));
        }
        let body = body.into_with_config().limit(limit);
        body.read_to_vec().map_err(failed)
    }

    /// Translates an error for the pusher. It names no URL that a server has redirected to, which may hold keys.
    fn server_error(
        &self,
        url: &str,
        limit: u64,
        timeout: Duration,
        error: ureq::Error,
    ) -> GemServerError {
        let url = url.to_owned();
        let unreachable = |reason: String| GemServerError::Unreachable {
            server: self.url.to_string(),
            reason,
        };
        match error {
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => unreachable(format!(
                "no connection within {} s",
                CONNECT_TIMEOUT.as_secs()
            )),
            ureq::Error::Timeout(_) => GemServerError::Slow {
                url,
                seconds: timeout.as_secs(),
            },
            ureq::Error::BodyExceedsLimit(_) => GemServerError::TooLarge {
                url,
                limit: crate::report::human_size(limit),
            },
            ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => {
                GemServerError::Redirects(url)
            }
            ureq::Error::RequireHttpsOnly(_) => GemServerError::Insecure(url),
            ureq::Error::HostNotFound => unreachable("unknown host name".to_owned()),
            ureq::Error::Io(error) => self.io_error(url, &error),
            ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_)
            | ureq::Error::InvalidProxyUrl => unreachable("no connection".to_owned()),
            ureq::Error::Rustls(error) => unreachable(format!("TLS: {error}")),
            ureq::Error::Tls(reason) => unreachable(format!("TLS: {reason}")),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => GemServerError::Protocol {
                url,
                reason: "invalid address in a redirect".to_owned(),
            },
            error => GemServerError::Protocol {
                url,
                reason: error.to_string(),
            },
        }
    }

    fn io_error(&self, url: String, error: &io::Error) -> GemServerError {
        match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                GemServerError::Truncated(url)
            }
            _ => GemServerError::Unreachable {
                server: self.url.to_string(),
                reason: error.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_server_cannot_redirect_to_http() {
        let server = GemServerClient::new(GemServerUrl::rubygems());
        // Each redirect goes through the same check before any connection.
        let answer = server.request("http://127.0.0.1:9/x", 1, Duration::from_secs(5));
        assert!(
            matches!(answer, Err(GemServerError::Insecure(_))),
            "{answer:?}"
        );
    }
}
