//! Gem servers by their URL: what an operator allows, and what a lockfile may name of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ureq::http::Uri;

/// A gem server that builds may ask, in one spelling: scheme and host in small letters, no default port, a slash at the
/// end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GemSource(String);

/// Text that names no gem server. It does not repeat the text, which may hold credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GemSourceError {
    /// No URL, or one of another scheme.
    #[error(
        "a gem source is a URL that begins with https:// (or http://), as https://rubygems.org/"
    )]
    Url,
    /// With a user's name or password.
    #[error("a gem source holds no user name and no password")]
    Credentials,
    /// With a query or a fragment.
    #[error("a gem source holds no ? and no #")]
    Query,
}

impl GemSource {
    /// Where Ruby's own gems are published.
    pub fn rubygems() -> Self {
        Self("https://rubygems.org/".to_owned())
    }

    /// The URL, with a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether all it says comes by TLS.
    pub(super) fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether it is on this machine, where no proxy leads.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or(host);
        ["127.0.0.1", "localhost", "[::1]"]
            .iter()
            .any(|own| host == *own || host.strip_prefix(own).is_some_and(|r| r.starts_with(':')))
    }
}

impl FromStr for GemSource {
    type Err = GemSourceError;

    fn from_str(text: &str) -> Result<Self, GemSourceError> {
        if text.contains('@') {
            return Err(GemSourceError::Credentials);
        }
        if text.contains(['?', '#']) {
            return Err(GemSourceError::Query);
        }
        let uri: Uri = text.parse().map_err(|_| GemSourceError::Url)?;
        let scheme = uri.scheme_str().ok_or(GemSourceError::Url)?;
        let default = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(GemSourceError::Url),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or(GemSourceError::Url)?.to_ascii_lowercase();
        let port = match uri.port_u16() {
            Some(port) if port != default => format!(":{port}"),
            _ => String::new(),
        };
        let path = uri.path().trim_end_matches('/');
        Ok(Self(format!("{scheme}://{host}{port}{path}/")))
    }
}

impl TryFrom<String> for GemSource {
    type Error = GemSourceError;

    fn try_from(text: String) -> Result<Self, GemSourceError> {
        text.parse()
    }
}

impl From<GemSource> for String {
    fn from(source: GemSource) -> Self {
        source.0
    }
}

impl fmt::Display for GemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> GemSource {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_of_one_server_are_the_same() {
        let rubygems = GemSource::rubygems();
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
    fn what_is_no_plain_url_is_refused() {
        for (text, error) in [
            ("rubygems.org", GemSourceError::Url),
            ("/etc/passwd", GemSourceError::Url),
            ("file:///etc/passwd", GemSourceError::Url),
            ("https://", GemSourceError::Url),
            ("x", GemSourceError::Url),
            (
                "https://me:secret@rubygems.org/",
                GemSourceError::Credentials,
            ),
            ("https://rubygems.org/?x", GemSourceError::Query),
            ("https://rubygems.org/#x", GemSourceError::Query),
        ] {
            assert_eq!(text.parse::<GemSource>(), Err(error), "{text}");
        }
    }

    #[test]
    fn this_machine_is_known() {
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
