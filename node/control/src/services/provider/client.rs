//! Requests of the node to a provider: bounded in time and size, without redirects, which would carry the password elsewhere.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error, Timeout};
use uuid::Uuid;

use super::answer::MAX_ANSWER;
use super::settings::ProviderConfig;

/// The time for a request and its answer, as on Heroku.
const REQUEST: Duration = Duration::from_secs(25);

/// The time to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// The media type of the partner API.
const ACCEPT: &str = "application/vnd.heroku-addons+json; version=3";

/// A request that has no usable answer. No text has a password.
#[derive(Debug)]
pub(super) enum ProviderCallError {
    /// The provider has not seen the request.
    Unreached(String),
    /// The provider may have seen it.
    Failed(String),
}

/// An answer.
pub(super) struct ProviderResponse {
    /// The status.
    pub(super) status: u16,
    /// The body, of [`MAX_ANSWER`] bytes at most.
    pub(super) body: Vec<u8>,
}

/// The client of one provider.
pub(super) struct ProviderClient {
    agent: Agent,
    base: String,
    /// The host name that the connection leaves out.
    host: Option<String>,
    authorization: String,
}

impl ProviderClient {
    /// Creates the client.
    ///
    /// # Errors
    ///
    /// The certificate authorities cannot be read.
    pub(super) fn new(config: &ProviderConfig) -> Result<Self, String> {
        let mut tls = TlsConfig::builder();
        if let Some(pem) = &config.ca {
            let authority = Certificate::from_pem(pem)
                .map_err(|error| format!("{error}: give certificates in PEM"))?;
            tls = tls.root_certs(RootCerts::Specific(Arc::new(vec![authority])));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(REQUEST))
            .timeout_connect(Some(CONNECT))
            .max_idle_connections(0)
            .tls_config(tls.build())
            .build();
        let credentials = format!("{}:{}", config.id, config.password.0);
        let (base, host) = loopback(&config.base_url);
        Ok(Self {
            agent: agent.into(),
            base,
            host,
            authorization: format!("Basic {}", BASE64_STANDARD.encode(credentials)),
        })
    }

    /// Sends a request about all resources or one of them.
    ///
    /// # Errors
    ///
    /// [`ProviderCallError`].
    pub(super) async fn send(
        &self,
        method: &'static str,
        resource: Option<Uuid>,
        body: Option<&Value>,
    ) -> Result<ProviderResponse, ProviderCallError> {
        let url = match resource {
            Some(id) => format!("{}/{id}", self.base),
            None => self.base.clone(),
        };
        let mut request = http::Request::builder()
            .method(method)
            .uri(url)
            .header("accept", ACCEPT)
            .header("content-type", "application/json")
            .header("authorization", &self.authorization);
        if let Some(host) = &self.host {
            request = request.header("host", host);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(body);
        let request = request.map_err(|error| ProviderCallError::Failed(error.to_string()))?;
        let agent = self.agent.clone();
        let sent = tokio::task::spawn_blocking(move || exchange(&agent, request)).await;
        sent.map_err(|_| ProviderCallError::Failed("the request was interrupted".to_owned()))?
            .map_err(|error| classify(&error))
    }
}

fn exchange(agent: &Agent, request: http::Request<String>) -> Result<ProviderResponse, Error> {
    let (parts, body) = agent.run(request)?.into_parts();
    let body = body.into_with_config().limit(MAX_ANSWER).read_to_vec()?;
    Ok(ProviderResponse {
        status: parts.status.as_u16(),
        body,
    })
}

/// Returns a URL whose host name is below `localhost` with the loopback address (RFC 6761 section 6.3), since not every
/// machine's resolver knows such names, and the name for the header `Host`.
fn loopback(base: &str) -> (String, Option<String>) {
    let plain = || (base.to_owned(), None);
    let Some((scheme, rest)) = base.split_once("://") else {
        return plain();
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, format!(":{port}")),
        None => (authority, String::new()),
    };
    match scheme == "http" && host.to_ascii_lowercase().ends_with(".localhost") {
        true => (
            format!("{scheme}://127.0.0.1{port}{path}"),
            Some(authority.to_owned()),
        ),
        false => plain(),
    }
}

fn classify(error: &Error) -> ProviderCallError {
    let unreached = ProviderCallError::Unreached;
    match error {
        Error::HostNotFound => unreached("its host name is unknown".to_owned()),
        Error::ConnectionFailed => unreached("it cannot be connected to".to_owned()),
        Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
            unreached("no connection in 10 s".to_owned())
        }
        Error::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            ) =>
        {
            unreached(error.to_string())
        }
        Error::Timeout(_) => ProviderCallError::Failed("no answer in 25 s".to_owned()),
        Error::BodyExceedsLimit(_) => {
            ProviderCallError::Failed("its answer is larger than 64 KiB".to_owned())
        }
        error => ProviderCallError::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_localhost_are_this_machine() {
        assert_eq!(
            loopback("http://kv.localhost:8080/heroku/resources"),
            (
                "http://127.0.0.1:8080/heroku/resources".to_owned(),
                Some("kv.localhost:8080".to_owned())
            )
        );
        for url in ["https://kv.example/x", "http://10.0.0.1:80/x"] {
            assert_eq!(loopback(url), (url.to_owned(), None));
        }
    }
}
