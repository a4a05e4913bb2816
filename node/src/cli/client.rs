//! The node's API as the commands use it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, bail};
use serde_json::Value;

use super::netrc;

/// The node that commands talk to.
pub(crate) struct Client {
    base: String,
    agent: ureq::Agent,
}

impl Client {
    /// The node that the environment names, or the one on this machine.
    pub(crate) fn new() -> Self {
        let base = std::env::var("CORUNDUM_API")
            .ok()
            .filter(|url| !url.is_empty());
        let base = base.unwrap_or_else(|| "http://127.0.0.1:8081".to_owned());
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        Self {
            base: base.trim_end_matches('/').to_owned(),
            agent,
        }
    }

    /// The name under which the token is kept: the host, since git's own reader of the file knows no ports.
    fn machine(&self) -> &str {
        let rest = self
            .base
            .split_once("://")
            .map_or(self.base.as_str(), |(_, rest)| rest);
        let host = rest.split('/').next().unwrap_or(rest);
        host.rsplit_once(':').map_or(host, |(name, _)| name)
    }

    /// Gets a token from the node on this machine and keeps it. The node issues it over a socket in its data directory, where
    /// the kernel tells it which user has connected.
    pub(crate) fn login(&self) -> anyhow::Result<()> {
        let request = self.agent.get(format!("{}/v1/login", self.base));
        let answer = self.value(request.call())?;
        let socket = answer["socket"]
            .as_str()
            .context("the node has no socket for logins")?;
        let mut node = UnixStream::connect(socket).context(
            "A first token is given only on the node's own machine, to the user that runs the node",
        )?;
        node.write_all(format!("{}\n", self.authority()).as_bytes())?;
        let answer: Value = serde_json::from_reader(node).context("the node gave no token")?;
        match (
            answer["token"].as_str(),
            answer["error"]["message"].as_str(),
        ) {
            (Some(token), _) => netrc::set_token(self.machine(), token),
            (None, message) => bail!("{}", message.unwrap_or("the node gave no token")),
        }
    }

    /// Host and port of the API.
    fn authority(&self) -> String {
        let rest = self
            .base
            .split_once("://")
            .map_or(self.base.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest).to_owned()
    }

    /// Sends a request and returns what the node answers. A first one on the node's own machine gets a token first.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        match self.send(method, path, body) {
            Err(error) if error.is::<Unauthorized>() => {
                self.login()?;
                self.send(method, path, body)
            }
            other => other,
        }
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        self.value(self.request(method, path, body))
    }

    /// Sends a request and returns the answer's body as it comes.
    pub(crate) fn stream(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<impl Read + use<>> {
        let mut response = self
            .request(method, path, body)
            .map_err(|error| self.unreachable(error))?;
        if response.status() == 401 {
            self.login()?;
            response = self
                .request(method, path, body)
                .map_err(|error| self.unreachable(error))?;
        }
        if !response.status().is_success() {
            return Err(refusal(response));
        }
        Ok(response
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader())
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let token = netrc::token(self.machine()).unwrap_or_default();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(body.map(ToString::to_string).unwrap_or_default());
        self.agent.run(request?)
    }

    fn value(
        &self,
        result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<Value> {
        let mut response = result.map_err(|error| self.unreachable(error))?;
        if response.status() == 401 {
            return Err(Unauthorized.into());
        }
        if !response.status().is_success() {
            return Err(refusal(response));
        }
        let text = response.body_mut().read_to_string()?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} does not answer like a Corundum node", self.base))
    }

    fn unreachable(&self, error: ureq::Error) -> anyhow::Error {
        anyhow::anyhow!(
            "The node at {} does not answer ({error}).\nStart one with: corundum server\nIs it elsewhere? Set CORUNDUM_API to its URL.",
            self.base
        )
    }
}

/// The node wants a token.
#[derive(Debug, thiserror::Error)]
#[error("the node does not know the token in ~/.netrc: corundum login")]
struct Unauthorized;

fn refusal(mut response: ureq::http::Response<ureq::Body>) -> anyhow::Error {
    let text = response.body_mut().read_to_string().unwrap_or_default();
    let message = serde_json::from_str::<Value>(&text).ok();
    let message = message.and_then(|value| value["error"]["message"].as_str().map(str::to_owned));
    match message {
        Some(message) => anyhow::anyhow!(message),
        None => anyhow::anyhow!("the node answered {}: {text}", response.status()),
    }
}

/// The app that a command is for: as given, or that of the git remote.
pub(crate) fn app_name(given: Option<String>) -> anyhow::Result<String> {
    if let Some(name) = given {
        return Ok(name);
    }
    let output = std::process::Command::new("git")
        .args(["remote", "get-url", "corundum"])
        .output();
    let url = output.ok().filter(|output| output.status.success());
    let url = url.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let name = url
        .as_deref()
        .and_then(|url| url.rsplit('/').next())
        .and_then(|name| name.strip_suffix(".git"));
    match name {
        Some(name) => Ok(name.to_owned()),
        None => bail!(
            "Missing required flag: --app\nSay which app, or go to a repository that has the git remote corundum."
        ),
    }
}
