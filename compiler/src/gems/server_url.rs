//! URLs of gem servers, which an operator allows and a lockfile names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ureq::http::Uri;

/// URL of a gem server in canonical form: lower-case scheme and host, no default port, a slash at the end.
///
/// Bundler calls it a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GemServerUrl(String);

/// Text that is not the URL of a gem server. The message omits the text, which may hold credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GemServerUrlError {
    /// The text is not a URL, or its scheme is neither https nor http.
    #[error(
        "a gem source is a URL that begins with https:// (or http://), as https://rubygems.org/"
    )]
    Url,
    /// The URL has a user name or a password.
    #[error("a gem source must contain no user name and no password")]
    Credentials,
    /// The URL has a query or a fragment.
    #[error("a gem source must contain no ? and no #")]
    Query,
}

impl GemServerUrl {
    /// Returns the URL of rubygems.org, the public server of the Ruby community.
    pub fn rubygems() -> Self {
        Self("https://rubygems.org/".to_owned())
    }

    /// Returns the servers that builds may fetch from unless an operator says otherwise: rubygems.org, and the git hosts
    /// that most Gemfiles name.
    pub fn defaults() -> Vec<Self> {
        let hosts = ["rubygems.org", "github.com", "gitlab.com", "bitbucket.org"];
        hosts.map(|host| Self(format!("https://{host}/"))).to_vec()
    }

    /// Returns the URL, which ends in a slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the server uses TLS.
    pub(super) fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Returns the URL up to its path: scheme, host, and the port if it is not the default one.
    pub(super) fn origin(&self) -> &str {
        let start = self.0.find("://").map_or(0, |at| at + 3);
        let end = self.0[start..]
            .find('/')
            .map_or(self.0.len(), |at| start + at);
        &self.0[..end]
    }

    /// Returns the host without its port.
    pub(super) fn host(&self) -> &str {
        let authority = self.origin().split_once("://").map_or("", |(_, rest)| rest);
        match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        }
    }

    /// Returns the port.
    pub(super) fn port(&self) -> u16 {
        let authority = self.origin().split_once("://").map_or("", |(_, rest)| rest);
        let port = authority
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        port.unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Returns whether the server is on this machine, so that requests to it need no proxy.
    pub(super) fn is_loopback(&self) -> bool {
        ["127.0.0.1", "localhost", "[::1]"].contains(&self.host())
    }
}

impl FromStr for GemServerUrl {
    type Err = GemServerUrlError;

    fn from_str(text: &str) -> Result<Self, GemServerUrlError> {
        if text.contains('@') {
            return Err(GemServerUrlError::Credentials);
        }
        if text.contains(['?', '#']) {
            return Err(GemServerUrlError::Query);
        }
        let uri: Uri = text.parse().map_err(|_| GemServerUrlError::Url)?;
        let scheme = uri.scheme_str().ok_or(GemServerUrlError::Url)?;
        let default = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(GemServerUrlError::Url),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or(GemServerUrlError::Url)?.to_ascii_lowercase();
        let port = match uri.port_u16() {
            Some(port) if port != default => format!(":{port}"),
            _ => String::new(),
        };
        let path = uri.path().trim_end_matches('/');
        Ok(Self(format!("{scheme}://{host}{port}{path}/")))
    }
}

impl TryFrom<String> for GemServerUrl {
    type Error = GemServerUrlError;

    fn try_from(text: String) -> Result<Self, GemServerUrlError> {
        text.parse()
    }
}

impl From<GemServerUrl> for String {
    fn from(source: GemServerUrl) -> Self {
        source.0
    }
}

impl fmt::Display for GemServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> GemServerUrl {
        text.parse().unwrap()
    }

    #[test]
    fn equivalent_urls_are_equal() {
        let rubygems = GemServerUrl::rubygems();
        assert_eq!(source("https://rubygems.org/"), rubygems);
        for same in [
            "https://rubygems.org",
            "HTTPS://RubyGems.org:443/",
            "https://rubygems.org//",
        ] {
            assert_eq!(source(same), rubygems, "{same}");
        }
        for other in [
            "http://rubygems.org/",
            "https://rubygems.org:8443/",
            "https://rubygems.org/private/",
            "https://rubygems.org.example.com/",
        ] {
            assert_ne!(source(other), rubygems, "{other}");
        }
    }

    #[test]
    fn invalid_url_is_rejected() {
        for (text, error) in [
            ("rubygems.org", GemServerUrlError::Url),
            ("/etc/passwd", GemServerUrlError::Url),
            ("file:///etc/passwd", GemServerUrlError::Url),
            ("https://", GemServerUrlError::Url),
            ("x", GemServerUrlError::Url),
            (
                "https://me:secret@rubygems.org/",
                GemServerUrlError::Credentials,
            ),
            ("https://rubygems.org/?x", GemServerUrlError::Query),
            ("https://rubygems.org/#x", GemServerUrlError::Query),
        ] {
            assert_eq!(text.parse::<GemServerUrl>(), Err(error), "{text}");
        }
    }

    #[test]
    fn url_is_split_into_origin_and_host() {
        for (url, origin, host) in [
            (
                "https://rubygems.org",
                "https://rubygems.org",
                "rubygems.org",
            ),
            ("http://a:81/b/c", "http://a:81", "a"),
            ("http://[::1]:81/", "http://[::1]:81", "[::1]"),
            ("http://[::1]/b", "http://[::1]", "[::1]"),
        ] {
            let url = source(url);
            assert_eq!((url.origin(), url.host()), (origin, host));
        }
    }

    #[test]
    fn loopback_hosts_are_recognized() {
        for own in [
            "http://127.0.0.1:8808",
            "http://localhost/",
            "http://[::1]:1/",
        ] {
            assert!(source(own).is_loopback(), "{own}");
        }
        for other in ["http://127.0.0.1.example.com/", "http://localhost.example/"] {
            assert!(!source(other).is_loopback(), "{other}");
        }
    }
}
