//! The authority of a URL: a host with an optional port, and the one form in which the router passes it on.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// An authority that a request names (RFC 9110 section 7.2, RFC 3986 section 3.2), without user information.
///
/// Its normal form is in lower case, without the root's dot, an empty port and the port that the scheme implies. It is
/// [displayed](fmt::Display) in this form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Authority<'a> {
    host: AuthorityHost<'a>,
    /// `None` stands for the default port too.
    port: Option<u16>,
    is_normal: bool,
}

#[derive(Debug, Clone, Copy)]
enum AuthorityHost<'a> {
    /// A name or an IPv4 address.
    Name(&'a str),
    Address(Ipv6Addr),
}

impl<'a> Authority<'a> {
    /// Parses an authority of a scheme with this default port.
    ///
    /// A name consists of letters, digits, `-`, `_` and single dots. Nothing else is in a DNS name, and a
    /// percent-encoded letter would be another spelling of the same host.
    pub(crate) fn parse(text: &'a str, default_port: u16) -> Option<Self> {
        let (host, port, host_is_normal) = match text.strip_prefix('[') {
            Some(rest) => {
                let (spelled, port) = rest.split_once(']')?;
                let address: Ipv6Addr = spelled.parse().ok()?;
                let is_normal = address.to_string() == spelled;
                (AuthorityHost::Address(address), port, is_normal)
            }
            None => {
                let (spelled, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                let name = spelled.strip_suffix('.').unwrap_or(spelled);
                if !is_name(name) {
                    return None;
                }
                let upper = name.bytes().any(|byte| byte.is_ascii_uppercase());
                let is_normal = !upper && name.len() == spelled.len();
                (AuthorityHost::Name(name), port, is_normal)
            }
        };
        let port_text = port;
        let port = match port_text.strip_prefix(':') {
            None if port_text.is_empty() => None,
            None => return None,
            Some("") => None,
            // Checked first, since `parse` also takes a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        let port = port.filter(|port| *port != default_port);
        let port_is_normal = match port {
            Some(_) => !port_text.starts_with(":0"),
            None => port_text.is_empty(),
        };
        Some(Self {
            host,
            port,
            is_normal: host_is_normal && port_is_normal,
        })
    }

    /// Returns whether the text that was parsed is the normal form.
    pub(crate) fn is_normal(&self) -> bool {
        self.is_normal
    }

    /// Returns the normal form, which begins with `host`, the host in its normal form.
    pub(crate) fn normal<'h>(&self, host: &'h str) -> Cow<'h, str> {
        match self.port {
            Some(port) => Cow::Owned(format!("{host}:{port}")),
            None => Cow::Borrowed(host),
        }
    }

    /// Returns the host in its normal form.
    pub(crate) fn host(&self) -> Arc<str> {
        match self.host {
            AuthorityHost::Name(name) => {
                let mut host: Arc<str> = name.into();
                if !self.is_normal
                    && let Some(letters) = Arc::get_mut(&mut host)
                {
                    letters.make_ascii_lowercase();
                }
                host
            }
            AuthorityHost::Address(address) => format!("[{address}]").into(),
        }
    }
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.normal(&self.host()))
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let mut last = b'.';
    for byte in name.bytes() {
        if !is_part(byte) || (byte == b'.' && last == b'.') {
            return false;
        }
        last = byte;
    }
    last != b'.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_authority_have_one_form() {
        for (spelled, normal, host) in [
            ("a.example", "a.example", "a.example"),
            ("A.Example", "a.example", "a.example"),
            ("a.example.", "a.example", "a.example"),
            ("a.example:", "a.example", "a.example"),
            ("a.example:80", "a.example", "a.example"),
            ("a.example.:0080", "a.example", "a.example"),
            ("a.example:443", "a.example:443", "a.example"),
            ("a.example:08080", "a.example:8080", "a.example"),
            ("x_y.a-b", "x_y.a-b", "x_y.a-b"),
            ("127.0.0.1:1", "127.0.0.1:1", "127.0.0.1"),
            ("[::1]:80", "[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]:81", "[::1]:81", "[::1]"),
            ("[::FFFF:1.2.3.4]", "[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"),
        ] {
            let authority = Authority::parse(spelled, 80).expect(spelled);
            assert_eq!(authority.to_string(), normal, "{spelled}");
            assert_eq!(&*authority.host(), host, "{spelled}");
            assert_eq!(authority.is_normal(), spelled == normal, "{spelled}");
        }
        let https = Authority::parse("a.example:443", 443).unwrap();
        assert_eq!(https.to_string(), "a.example");
    }

    #[test]
    fn text_that_names_no_host_is_rejected() {
        for text in [
            "",
            ".",
            "..",
            "a..",
            "a..b",
            ".a",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "a,b",
            "a:x",
            "a:+8",
            "a:80:80",
            "a:65536",
            "[::1",
            "[]",
            "[g]",
            "[::1]x",
            "[1.2.3.4]",
            "[::1%25eth0]",
            "a\\b",
            "a\"b",
            "::1",
            "%61",
            "a'b",
            "a*b",
            "a%2eb",
            "\u{e9}",
        ] {
            assert!(Authority::parse(text, 80).is_none(), "{text}");
        }
    }
}
