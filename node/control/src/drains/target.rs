//! Targets of drains: `syslog://HOST:PORT`, `syslog+tls://HOST:PORT` or `https://…`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The protocol of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrainProtocol {
    /// Octet-counted frames over TCP (RFC 6587).
    Syslog,
    /// The same over TLS (RFC 5425).
    SyslogTls,
    /// Batches as HTTP requests.
    Https,
}

/// A drain's parsed URL. Printing it leaves secrets out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DrainTarget {
    pub(crate) protocol: DrainProtocol,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) path: String,
    /// `user:password`.
    credentials: Option<String>,
}

/// An invalid URL of a drain. The user is at fault.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a drain's URL is syslog://HOST:PORT, syslog+tls://HOST:PORT or https://HOST/PATH: {0}")]
pub(crate) struct InvalidDrainUrl(&'static str);

impl FromStr for DrainTarget {
    type Err = InvalidDrainUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDrainUrl> {
        if text.len() > 2048 {
            return Err(InvalidDrainUrl("this one is longer than 2048 bytes"));
        }
        let uri: http::Uri = text
            .parse()
            .map_err(|_| InvalidDrainUrl("this is not a URL"))?;
        let protocol = match uri.scheme_str() {
            Some("syslog") => DrainProtocol::Syslog,
            Some("syslog+tls") => DrainProtocol::SyslogTls,
            Some("https") => DrainProtocol::Https,
            _ => return Err(InvalidDrainUrl("its scheme is not one of these")),
        };
        let authority = uri.authority().ok_or(InvalidDrainUrl("it has no host"))?;
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
            return Err(InvalidDrainUrl("it has no host"));
        }
        let port = match (authority.port_u16(), protocol) {
            (Some(port), _) if port > 0 => port,
            (None, DrainProtocol::Https) => 443,
            _ => return Err(InvalidDrainUrl("it has no port")),
        };
        if protocol != DrainProtocol::Https
            && (credentials.is_some() || !matches!(uri.path(), "" | "/"))
        {
            return Err(InvalidDrainUrl("syslog has neither users nor paths"));
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

impl DrainTarget {
    /// Returns the value of `Authorization`, if the URL has credentials.
    pub(crate) fn authorization(&self) -> Option<String> {
        let credentials = self.credentials.as_deref().map(percent_decoded)?;
        Some(format!("Basic {}", STANDARD.encode(credentials)))
    }

    /// Returns host and port in the form of a `Host` header.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if (self.protocol, self.port) == (DrainProtocol::Https, 443) {
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

/// Leaves out credentials and queries, which often hold keys.
impl fmt::Display for DrainTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            DrainProtocol::Syslog => "syslog",
            DrainProtocol::SyslogTls => "syslog+tls",
            DrainProtocol::Https => "https",
        };
        let hidden = if self.credentials.is_some() {
            "***@"
        } else {
            ""
        };
        write!(f, "{scheme}://{hidden}{}", self.authority())?;
        if self.protocol != DrainProtocol::Https {
            return Ok(());
        }
        match self.path.split_once('?') {
            Some((path, _)) => write!(f, "{path}?***"),
            None => f.write_str(&self.path),
        }
    }
}

impl fmt::Debug for DrainTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> DrainTarget {
        text.parse().unwrap()
    }

    #[test]
    fn printed_url_holds_no_secret() {
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
    fn invalid_urls_are_rejected() {
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
            assert!(url.parse::<DrainTarget>().is_err(), "{url}");
        }
    }
}
