//! The node's API as the commands use it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use corundum_api::ErrorResource;
use corundum_api::login::LoginResource;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::BodyReader;

use crate::upgrade::{self, UpgradeOutcome, Upgraded};
use crate::{login, netrc};

/// The API of a node on this machine with default options.
const DEFAULT_API: &str = "http://127.0.0.1:8081";

/// Bytes of a path's segment that need an encoding: all but RFC 3986's unreserved ones.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

type ApiResponse = ureq::http::Response<ureq::Body>;

/// A client of one node.
pub(crate) struct ApiClient {
    base: String,
    agent: ureq::Agent,
}

impl ApiClient {
    /// Makes a client of the node that CORUNDUM_API names, or of the one on this machine.
    pub(crate) fn new() -> Self {
        let base = std::env::var("CORUNDUM_API")
            .ok()
            .filter(|url| !url.is_empty());
        let base = base.unwrap_or_else(|| DEFAULT_API.to_owned());
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        Self {
            base: base.trim_end_matches('/').to_owned(),
            agent,
        }
    }

    /// Reads a resource.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call("GET", path, None::<&()>)
    }

    /// Creates a resource or starts an action.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.call("POST", path, Some(body))
    }

    /// Changes a resource.
    pub(crate) fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.call("PATCH", path, Some(body))
    }

    /// Deletes a resource.
    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call("DELETE", path, None::<&()>)
    }

    /// Sends a request and reads its response.
    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let response = self.send(method, path, body)?;
        self.read(response)
    }

    /// Opens a connection and makes it the stream of another protocol, in both directions.
    ///
    /// # Errors
    ///
    /// The node does not answer, refuses the request, or lacks the protocol.
    pub(crate) async fn upgrade(&self, path: &str, protocol: &str) -> anyhow::Result<Upgraded> {
        let mut outcome = self.try_upgrade(path, protocol).await?;
        if matches!(&outcome, UpgradeOutcome::Refused { status: 401, .. }) {
            let data_dir = std::env::var_os("CORUNDUM_DATA_DIR").map(PathBuf::from);
            self.log_in(data_dir.as_deref())?;
            outcome = self.try_upgrade(path, protocol).await?;
        }
        match outcome {
            UpgradeOutcome::Upgraded(stream) => Ok(stream),
            UpgradeOutcome::Refused { status, body } => Err(refusal_of(&status.to_string(), &body)),
        }
    }

    async fn try_upgrade(&self, path: &str, protocol: &str) -> anyhow::Result<UpgradeOutcome> {
        let token = netrc::token(self.host())?;
        let outcome = upgrade::upgrade(&self.base, path, protocol, token.as_deref()).await;
        outcome.map_err(|error| self.no_answer(&error))
    }

    /// Opens a content that is no JSON, and returns its length in bytes, if the node says it.
    pub(crate) fn content(&self, path: &str) -> anyhow::Result<(Option<u64>, BodyReader<'static>)> {
        let response = self.send("GET", path, None::<&()>)?;
        Ok((response.body().content_length(), unlimited(response)))
    }

    /// Reads a URL that the node gave out, without the token: the URL itself is the permission.
    pub(crate) fn stream_url(&self, url: &str) -> anyhow::Result<BodyReader<'static>> {
        let response = self.agent.get(url).call();
        let response = response.map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return Err(refusal(response));
        }
        Ok(unlimited(response))
    }

    /// Gets a token over the Unix socket of the node on this machine and stores it.
    ///
    /// The token speaks for the node's owner, so it is only stored for a node of this machine: stored for another one, it
    /// would be sent there.
    pub(crate) fn log_in(&self, data_dir: Option<&Path>) -> anyhow::Result<()> {
        if !is_loopback(self.host()) {
            bail!(
                "login: {} is not on this machine\nCopy the token from ~/.netrc of the node's machine: corundum login --token-stdin",
                self.base
            );
        }
        let socket = match data_dir {
            Some(directory) => login::socket_of(directory),
            None => self.announced_socket()?,
        };
        self.store_token(&login::request_token(&socket, self.authority())?)
    }

    /// Stores a token for the node.
    pub(crate) fn store_token(&self, token: &str) -> anyhow::Result<()> {
        netrc::set_token(self.host(), token)
    }

    /// Asks the node for the path of its socket.
    fn announced_socket(&self) -> anyhow::Result<PathBuf> {
        let response = self.request("GET", "/v1/login", None::<&()>, None);
        let response = response.map_err(|error| self.unreachable(&error))?;
        let login: LoginResource = self.read(response)?;
        Ok(PathBuf::from(login.socket))
    }

    /// Reads the response to a request that succeeded, or the error of one that did not.
    fn read<T: DeserializeOwned>(&self, mut response: ApiResponse) -> anyhow::Result<T> {
        if !response.status().is_success() {
            return Err(refusal(response));
        }
        let text = response.body_mut().read_to_string()?;
        serde_json::from_str(&text).with_context(|| self.not_a_node())
    }

    /// Sends a request; the first one of a user on the node's own machine gets a token on the way.
    fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<ApiResponse> {
        let mut response = self.authorized(method, path, body)?;
        if response.status() == 401 {
            let data_dir = std::env::var_os("CORUNDUM_DATA_DIR").map(PathBuf::from);
            self.log_in(data_dir.as_deref())?;
            response = self.authorized(method, path, body)?;
        }
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(refusal(response))
        }
    }

    fn authorized(
        &self,
        method: &str,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<ApiResponse> {
        let token = netrc::token(self.host())?;
        let response = self.request(method, path, body, token.as_deref());
        response.map_err(|error| self.unreachable(&error))
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<&impl Serialize>,
        token: Option<&str>,
    ) -> Result<ApiResponse, ureq::Error> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = body.map(serde_json::to_string).transpose();
        let body = body.map_err(|error| ureq::Error::Io(error.into()))?;
        self.agent.run(request.body(body.unwrap_or_default())?)
    }

    /// Returns the node's host without its port: the machine of its entry in `~/.netrc`, where git's own reader of that
    /// file knows no ports.
    fn host(&self) -> &str {
        let authority = self.authority();
        let port = authority.rsplit_once(':');
        port.filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            .map_or(authority, |(host, _)| host)
    }

    /// Returns the node's host with its port, as the URL has it.
    fn authority(&self) -> &str {
        let rest = self
            .base
            .split_once("://")
            .map_or(self.base.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }

    fn not_a_node(&self) -> String {
        format!(
            "{}: not a Corundum node, or one of another version",
            self.base
        )
    }

    fn unreachable(&self, error: &ureq::Error) -> anyhow::Error {
        self.no_answer(error)
    }

    fn no_answer(&self, error: &dyn std::fmt::Display) -> anyhow::Error {
        anyhow::anyhow!(
            "{}: the node does not answer ({error})\nStart one with: corundum server\nIf the node is elsewhere, set CORUNDUM_API to its URL.",
            self.base
        )
    }
}

/// Returns the path of an app or of something below it; `rest` begins with a slash or is empty.
pub(crate) fn app_path(app: &str, rest: &str) -> String {
    format!("/v1/apps/{}{rest}", segment(app))
}

/// Returns a name as a segment of a path.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Returns a body to be read as it arrives, however long.
fn unlimited(response: ApiResponse) -> BodyReader<'static> {
    let body = response.into_body().into_with_config();
    body.limit(u64::MAX).reader()
}

/// Makes an error of a response with an error status.
fn refusal(mut response: ApiResponse) -> anyhow::Error {
    let text = response.body_mut().read_to_string().unwrap_or_default();
    refusal_of(response.status().as_str(), &text)
}

/// Makes an error of the status and the body of a response.
fn refusal_of(status: &str, text: &str) -> anyhow::Error {
    match serde_json::from_str::<ErrorResource>(text) {
        Ok(error) => anyhow::anyhow!(error.message),
        Err(_) => anyhow::anyhow!("the node answered {status}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(base: &str) -> String {
        let client = ApiClient {
            base: base.to_owned(),
            agent: ureq::Agent::new_with_defaults(),
        };
        client.host().to_owned()
    }

    #[test]
    fn the_host_of_a_node_has_no_port() {
        assert_eq!(host("http://127.0.0.1:8081"), "127.0.0.1");
        assert_eq!(host("https://node.example.com/api"), "node.example.com");
        assert_eq!(host("http://[::1]:8081"), "[::1]");
        assert_eq!(host("http://[::1]"), "[::1]");
    }

    #[test]
    fn only_loopback_hosts_are_on_this_machine() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "10.0.0.1", "node.example.com", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn names_are_encoded_as_one_segment() {
        assert_eq!(app_path("my-app", "/dynos"), "/v1/apps/my-app/dynos");
        assert_eq!(
            segment("syslog+tls://a.example:6514?x"),
            "syslog%2Btls%3A%2F%2Fa.example%3A6514%3Fx"
        );
    }
}
