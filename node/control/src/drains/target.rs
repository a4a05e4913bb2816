//! Where a drain leads: `syslog://HOST:PORT`, `syslog+tls://HOST:PORT` or `https://…`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How lines travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Octet-counted frames over TCP (RFC 6587).
    Syslog,
    /// The same over TLS (RFC 5425).
    SyslogTls,
    /// Batches that are posted.
    Https,
}

/// A drain's URL. Printing it shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) protocol: Protocol,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) path: String,
    /// `user:password`.
    credentials: Option<String>,
}

/// A URL that no drain can have. The user's to mend.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a drain's URL is syslog://HOST:PORT, syslog+tls://HOST:PORT or https://HOST/PATH: {0}")]
pub(crate) struct BadTarget(&'static str);

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        if text.len() > 2048 {
            return Err(BadTarget("this one is longer than 2048 bytes"));
        }
        let uri: http::Uri = text.parse().map_err(|_| BadTarget("this is no URL"))?;
        let protocol = match uri.scheme_str() {
            Some("syslog") => Protocol::Syslog,
            Some("syslog+tls") => Protocol::SyslogTls,
            Some("https") => Protocol::Https,
            _ => return Err(BadTarget("its scheme is none of these")),
        };
        let authority = uri.authority().ok_or(BadTarget("it names no host"))?;
        let credentials = authority
            .as_str()
            .rsplit_once('@')
            .map(|(credentials, _)| credentials.to_owned());
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase();
        if host.is_empty() {
            return Err(BadTarget("it names no host"));
        }
        let port = match (authority.port_u16(), protocol) {
            (Some(port), _) if port > 0 => port,
            (None, Protocol::Https) => 443,
            _ => return Err(BadTarget("it names no port")),
        };
        if protocol != Protocol::Https && (credentials.is_some() || !matches!(uri.path(), "" | "/"))
        {
            return Err(BadTarget("syslog has neither users nor paths"));
        }
        let path = uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        Ok(Self {
            protocol,
            host,
            port,
            path,
            credentials,
        })
    }
}

impl Target {
    /// The value of `Authorization`, if the URL has a user.
    pub(crate) fn authorization(&self) -> Option<String> {
        let credentials = self.credentials.as_deref().map(percent_decoded)?;
        Some(format!("Basic {}", STANDARD.encode(credentials)))
    }

    /// Host and port as a `Host` header has them.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if (self.protocol, self.port) == (Protocol::Https, 443) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let encoded = (*first == b'%')
            .then(|| Some(digit(0)? * 16 + digit(1)?))
            .flatten();
        match encoded {
            Some(byte) => {
                decoded.push(byte as u8);
                rest = &after[2..];
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}

/// Users, and queries, which often hold keys, are left out.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Syslog => "syslog",
            Protocol::SyslogTls => "syslog+tls",
            Protocol::Https => "https",
        };
        let hidden = if self.credentials.is_some() {
            "***@"
        } else {
            ""
        };
        write!(f, "{scheme}://{hidden}{}", self.authority())?;
        if self.protocol != Protocol::Https {
            return Ok(());
        }
        match self.path.split_once('?') {
            Some((path, _)) => write!(f, "{path}?***"),
            None => f.write_str(&self.path),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_shown_of_a_url_holds_no_secret() {
        for (url, shown) in [
            ("syslog://logs.example:514", "syslog://logs.example:514"),
            (
                "syslog+tls://logs.example:6514/",
                "syslog+tls://logs.example:6514",
            ),
            ("https://logs.example/in", "https://logs.example/in"),
            (
                "https://user:pass@Logs.example:8443/in?key=secret",
                "https://***@logs.example:8443/in?***",
            ),
        ] {
            assert_eq!(target(url).to_string(), shown);
            assert_eq!(format!("{:?}", target(url)), shown);
        }
        let with_user = target("https://u:p%40ss@logs.example/");
        assert_eq!(with_user.authorization().unwrap(), "Basic dTpwQHNz");
    }

    #[test]
    fn a_url_that_no_drain_can_have_is_refused() {
        for url in [
            "",
            "logs.example:514",
            "http://logs.example/",
            "syslog://logs.example",
            "syslog://u:p@logs.example:514",
            "syslog://logs.example:514/path",
            "https://",
            "ftp://logs.example:21/",
            "syslog://logs.example:0",
        ] {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
    }
}
