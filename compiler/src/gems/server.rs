//! One gem server: bounded GET requests to it, and what can go wrong with them.

use std::io::{self, ErrorKind};
use std::sync::OnceLock;
use std::time::Duration;

use ureq::{Agent, Proxy, Timeout};

use super::source::GemServerUrl;

/// A server that does not take a connection within this time is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// From a server to its storage, and once more.
const REDIRECTS: u32 = 3;

/// A request without a usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GemServerError {
    /// It has no such file.
    #[error("{0} is not there")]
    NotFound(String),
    /// It wants to know who asks.
    #[error(
        "{url} is not given to everybody (status {status}), and a build has no credentials: put the gem into vendor/cache (bundle cache does so)"
    )]
    Forbidden {
        /// What was asked for.
        url: String,
        /// 401, 403 or 407.
        status: u16,
    },
    /// It failed.
    #[error(
        "{url} was answered with status {status}: push again later, or ask whoever runs the gem server"
    )]
    Status {
        /// What was asked for.
        url: String,
        /// The answer's.
        status: u16,
    },
    /// There is no connection to it.
    #[error(
        "The gem server {server} cannot be reached: {reason}. Push again later, or put the gems into vendor/cache (bundle cache does so)"
    )]
    Unreachable {
        /// Its URL.
        server: String,
        /// What happened.
        reason: String,
    },
    /// It answers too slowly.
    #[error(
        "{url} did not come within {seconds} seconds: push again later, or put the gem into vendor/cache (bundle cache does so)"
    )]
    Slow {
        /// What was asked for.
        url: String,
        /// How long it had.
        seconds: u64,
    },
    /// The answer ended before its end.
    #[error("{0} came only in part: push again later, or ask whoever runs the gem server")]
    Truncated(String),
    /// The answer is larger than any honest one.
    #[error("{url} is larger than {limit}, which no build takes: put less into the gem")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The bound, for people.
        limit: String,
    },
    /// It sent the request on and on.
    #[error(
        "{0} was redirected more than {REDIRECTS} times: ask whoever runs the gem server, or name the last address as the source"
    )]
    Redirects(String),
    /// It sent the request on to a place without TLS.
    #[error(
        "{0} was redirected from https to http, which a build does not follow: ask whoever runs the gem server"
    )]
    Insecure(String),
    /// It does not speak HTTP as it should.
    #[error(
        "{url} was answered with what is not understood ({reason}): ask whoever runs the gem server"
    )]
    Protocol {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
}

/// A gem server that the operator allows.
pub(super) struct Server {
    source: GemServerUrl,
    agent: Agent,
    /// Set once it could not be reached: the build's other gems need not wait for it too.
    down: OnceLock<GemServerError>,
}

impl Server {
    pub(super) fn new(source: GemServerUrl) -> Self {
        let proxy = if source.is_loopback() {
            None
        } else {
            Proxy::try_from_env()
        };
        let agent = Agent::config_builder()
            .https_only(source.is_https())
            .max_redirects(REDIRECTS)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .user_agent(concat!("corundum/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy)
            .build()
            .into();
        Self {
            source,
            agent,
            down: OnceLock::new(),
        }
    }

    pub(super) fn source(&self) -> &GemServerUrl {
        &self.source
    }

    /// The file at `path` below the server's URL, if it has at most `limit` bytes and comes within `time`.
    pub(super) fn get(
        &self,
        path: &str,
        limit: u64,
        time: Duration,
    ) -> Result<Vec<u8>, GemServerError> {
        if let Some(error) = self.down.get() {
            return Err(error.clone());
        }
        let url = format!("{}{path}", self.source);
        let answer = self.ask(&url, limit, time);
        if let Err(error @ GemServerError::Unreachable { .. }) = &answer {
            let _ = self.down.set(error.clone());
        }
        answer
    }

    fn ask(&self, url: &str, limit: u64, time: Duration) -> Result<Vec<u8>, GemServerError> {
        let failed = |error| self.failure(url, limit, time, error);
        let request = self.agent.get(url).config();
        let request = request.timeout_global(Some(time)).build();
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

    /// What a failure means to the pusher. URLs that a server has redirected to are not repeated: they may hold keys.
    fn failure(&self, url: &str, limit: u64, time: Duration, error: ureq::Error) -> GemServerError {
        let url = url.to_owned();
        let unreachable = |reason: String| GemServerError::Unreachable {
            server: self.source.to_string(),
            reason,
        };
        match error {
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                unreachable(format!("no connection within {} s", CONNECT.as_secs()))
            }
            ureq::Error::Timeout(_) => GemServerError::Slow {
                url,
                seconds: time.as_secs(),
            },
            ureq::Error::BodyExceedsLimit(_) => GemServerError::TooLarge {
                url,
                limit: crate::report::human_size(limit),
            },
            ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => {
                GemServerError::Redirects(url)
            }
            ureq::Error::RequireHttpsOnly(_) => GemServerError::Insecure(url),
            ureq::Error::HostNotFound => unreachable("its name is not known".to_owned()),
            ureq::Error::Io(error) => self.io(url, &error),
            ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_)
            | ureq::Error::InvalidProxyUrl => unreachable("no connection".to_owned()),
            ureq::Error::Rustls(error) => unreachable(format!("TLS: {error}")),
            ureq::Error::Tls(reason) => unreachable(format!("TLS: {reason}")),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => GemServerError::Protocol {
                url,
                reason: "it names an address that is none".to_owned(),
            },
            error => GemServerError::Protocol {
                url,
                reason: error.to_string(),
            },
        }
    }

    fn io(&self, url: String, error: &io::Error) -> GemServerError {
        match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                GemServerError::Truncated(url)
            }
            _ => GemServerError::Unreachable {
                server: self.source.to_string(),
                reason: error.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_with_tls_never_leads_to_one_without() {
        let server = Server::new(GemServerUrl::rubygems());
        // As a redirect would have it: each hop goes through the same check, before any connection.
        let answer = server.ask("http://127.0.0.1:9/x", 1, Duration::from_secs(5));
        assert!(
            matches!(answer, Err(GemServerError::Insecure(_))),
            "{answer:?}"
        );
    }
}
