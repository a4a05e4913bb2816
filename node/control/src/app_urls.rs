//! The host names and URLs under which a node serves apps and their repositories.

use std::net::SocketAddr;

use corundum_abi::names::AppName;

/// Derives an app's host name and URLs from the node's domain and ports.
#[derive(Debug, Clone)]
pub struct AppUrls {
    /// Apps are served at `NAME.domain`.
    pub domain: String,
    /// The port of plain HTTP.
    pub http: u16,
    /// The port of HTTPS, if the node serves it.
    pub https: Option<u16>,
    /// The address of the API and of git.
    pub api: SocketAddr,
}

impl AppUrls {
    /// Returns the host name that the node gives an app.
    pub fn host(&self, app: &AppName) -> String {
        format!("{app}.{}", self.domain)
    }

    /// Returns the host name of an app with the port of plain HTTP.
    pub(crate) fn authority(&self, app: &AppName) -> String {
        format!("{}:{}", self.host(app), self.http)
    }

    /// Returns the URL of an app. `redirect` is the HTTPS port to which the app's plain requests are sent, if they are.
    pub(crate) fn web(&self, app: &AppName, redirect: Option<u16>) -> String {
        match redirect {
            Some(443) => format!("https://{}/", self.host(app)),
            Some(port) => format!("https://{}:{port}/", self.host(app)),
            None => format!("http://{}/", self.authority(app)),
        }
    }

    /// Returns the URL of an app's repository.
    pub(crate) fn git(&self, app: &AppName) -> String {
        format!("http://{}/{app}.git", self.api)
    }
}
