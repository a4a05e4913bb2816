//! HTTP client of one gem server: bounded GET requests and their errors.

use std::io::{self, ErrorKind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ureq::http::Uri;
use ureq::http::header::{AUTHORIZATION, LOCATION};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, Proxy, Timeout};

use super::credentials;
use super::guarded_resolver::{GuardedResolver, RefusedAddress};
use super::redirect::{self, RefusedRedirect};
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
    /// The server requires authentication: the app's author sets credentials or vendors the gem.
    #[error(
        "{url}: access denied (status {status}); set its credentials (corundum config:set {variable}=USER:PASSWORD), or put the gem into vendor/cache (bundle cache does so)"
    )]
    Forbidden {
        /// Requested URL.
        url: String,
        /// Status 401, 403 or 407.
        status: u16,
        /// Config var for the credentials.
        variable: String,
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
    /// The server redirected the request to one that the operator does not allow.
    #[error(
        "{url}: redirected to {server}, which this node does not fetch from; put the gem into vendor/cache (bundle cache does so), or ask the node's operator to allow it with --gem-source {server}/"
    )]
    Redirected {
        /// Requested URL.
        url: String,
        /// Server of the redirect, without path and query.
        server: String,
    },
    /// The server's name leads to the node itself or to a place that builds must not reach.
    #[error(
        "gem server {0}: its name has no address that a build may connect to; ask the node's operator to name the server by its address with --gem-source"
    )]
    Address(String),
    /// The response is not valid HTTP.
    #[error("{url}: invalid response ({reason}); ask the gem server's operator")]
    Protocol {
        /// Requested URL.
        url: String,
        /// Reason.
        reason: String,
    },
}

/// HTTP connections of a build, to the servers that the operator allows.
pub(super) struct GemHttp {
    allowed: Vec<GemServerUrl>,
    direct: Agent,
    /// Agent that uses the proxy of the environment.
    proxied: Agent,
}

impl GemHttp {
    /// Creates the connections' state.
    pub(super) fn new(allowed: Vec<GemServerUrl>) -> Self {
        // All requests resolve a name to the same addresses.
        let resolver = GuardedResolver::new();
        let agent = |proxy| {
            let config = Agent::config_builder()
                // `request` follows redirects itself, because it checks each.
                .max_redirects(0)
                .http_status_as_error(false)
                .timeout_connect(Some(CONNECT_TIMEOUT))
                .user_agent(concat!("corundum/", env!("CARGO_PKG_VERSION")))
                .proxy(proxy)
                .build();
            Agent::with_parts(config, DefaultConnector::default(), resolver.clone())
        };
        Self {
            allowed,
            direct: agent(None),
            proxied: agent(Proxy::try_from_env()),
        }
    }

    /// Returns the agent for a URL: requests to this machine use no proxy.
    fn agent(&self, url: &Uri) -> &Agent {
        let host = url.host().unwrap_or_default();
        let of_host = |server: &&GemServerUrl| server.host().eq_ignore_ascii_case(host);
        match self.allowed.iter().find(of_host) {
            Some(server) if server.is_loopback() => &self.direct,
            _ => &self.proxied,
        }
    }
}

/// Client of one gem server that the operator allows.
pub(super) struct GemServerClient {
    url: GemServerUrl,
    http: Arc<GemHttp>,
    /// Error of the first failed connection. The build's other gems fail with it at once instead of waiting too.
    unreachable: OnceLock<GemServerError>,
}

impl GemServerClient {
    /// Creates a client of the server at `url`.
    pub(super) fn new(url: GemServerUrl, http: Arc<GemHttp>) -> Self {
        Self {
            url,
            http,
            unreachable: OnceLock::new(),
        }
    }

    /// Returns the URL of the server.
    pub(super) fn url(&self) -> &GemServerUrl {
        &self.url
    }

    /// Gets the file at `path` below the server's URL. `authorization` is the value of that header for this server.
    ///
    /// It fails if the file has more than `limit` bytes or the whole request takes longer than `timeout`.
    pub(super) fn get(
        &self,
        path: &str,
        limit: u64,
        timeout: Duration,
        authorization: Option<&str>,
    ) -> Result<Vec<u8>, GemServerError> {
        if let Some(error) = self.unreachable.get() {
            return Err(error.clone());
        }
        let url = format!("{}{path}", self.url);
        let answer = self.request(&url, limit, timeout, authorization);
        if let Err(error @ GemServerError::Unreachable { .. }) = &answer {
            let _ = self.unreachable.set(error.clone());
        }
        answer
    }

    fn request(
        &self,
        url: &str,
        limit: u64,
        timeout: Duration,
        authorization: Option<&str>,
    ) -> Result<Vec<u8>, GemServerError> {
        let failed = |error| self.server_error(url, limit, timeout, error);
        let response = self.response(url, timeout, authorization, &failed)?;
        let status = response.status().as_u16();
        let known = url.to_owned();
        match status {
            200 => {}
            404 | 410 => return Err(GemServerError::NotFound(known)),
            401 | 403 | 407 => {
                return Err(GemServerError::Forbidden {
                    url: known,
                    status,
                    variable: credentials::variable(self.url.host()),
                });
            }
            _ => return Err(GemServerError::Status { url: known, status }),
        }
        let body = response.into_body();
        if body.content_length().is_some_and(|length| length > limit) {
            return Err(failed(ureq::Error::BodyExceedsLimit(limit)));
        }
        let body = body.into_with_config().limit(limit);
        body.read_to_vec().map_err(failed)
    }

    /// Gets a response, after at most [`MAX_REDIRECTS`] redirects to allowed servers.
    fn response(
        &self,
        url: &str,
        timeout: Duration,
        authorization: Option<&str>,
        failed: &impl Fn(ureq::Error) -> GemServerError,
    ) -> Result<ureq::http::Response<Body>, GemServerError> {
        let invalid = |_| GemServerError::Protocol {
            url: url.to_owned(),
            reason: "invalid address".to_owned(),
        };
        let deadline = Instant::now() + timeout;
        let mut at: Uri = url.parse().map_err(invalid)?;
        for _ in 0..=MAX_REDIRECTS {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut request = self.http.agent(&at).get(&at);
            // The storage that a server redirects to is not the server.
            if let Some(value) = authorization
                && format!("{at}").starts_with(&format!("{}/", self.url.origin()))
            {
                request = request.header(AUTHORIZATION, value);
            }
            let request = request.config();
            let request = request.timeout_global(Some(left)).build();
            let response = request.call().map_err(failed)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION);
            let location = location.and_then(|value| value.to_str().ok());
            let next = redirect::target(&at, location.unwrap_or_default(), &self.http.allowed);
            at = next.map_err(|refused| refused_redirect(url, refused))?;
        }
        Err(GemServerError::Redirects(url.to_owned()))
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
            ureq::Error::Other(error) if error.is::<RefusedAddress>() => {
                GemServerError::Address(self.url.to_string())
            }
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

/// Translates a refused redirect for the pusher.
fn refused_redirect(url: &str, refused: RefusedRedirect) -> GemServerError {
    let url = url.to_owned();
    match refused {
        RefusedRedirect::Insecure => GemServerError::Insecure(url),
        RefusedRedirect::NotAllowed(server) => GemServerError::Redirected { url, server },
        RefusedRedirect::Invalid => GemServerError::Protocol {
            url,
            reason: "invalid address in a redirect".to_owned(),
        },
    }
}
