//! Connections that an HTTP/1.1 upgrade makes a stream in both directions (RFC 9110, section 7.8).
//!
//! The client of other requests sends a body before it reads a response, so this one is separate.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Most bytes of a response's head, and of the body of a refusal.
const MAX_RESPONSE: usize = 64 << 10;

/// A stream in both directions.
pub(crate) struct Upgraded {
    pub(crate) read: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) write: Box<dyn AsyncWrite + Send + Unpin>,
}

/// The answer to the request for an upgrade.
pub(crate) enum UpgradeOutcome {
    /// The connection is the stream now.
    Upgraded(Upgraded),
    /// The node refused.
    Refused {
        /// HTTP's status code.
        status: u16,
        /// The response's body.
        body: String,
    },
}

/// The head of a response.
#[derive(Debug, PartialEq, Eq)]
struct UpgradeHead {
    status: u16,
    /// Bytes of the body, if they are known.
    length: Option<usize>,
}

/// Asks the server at `base` to make the connection of a request for `path` the stream of `protocol`.
pub(crate) async fn upgrade(
    base: &str,
    path: &str,
    protocol: &str,
    token: Option<&str>,
) -> io::Result<UpgradeOutcome> {
    let (is_tls, rest) = match base.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some((_, rest)) => (false, rest),
        None => (false, base),
    };
    let (authority, prefix) = rest.split_once('/').map_or((rest, ""), |(a, p)| (a, p));
    let (host, port) = split_port(authority, if is_tls { 443 } else { 80 })?;
    let prefix = prefix.trim_end_matches('/');
    let slash = if prefix.is_empty() { "" } else { "/" };
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let authorization = authorization.unwrap_or_default();
    let request = format!(
        "GET {slash}{prefix}{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n{authorization}\r\n"
    );
    let stream = TcpStream::connect((host, port)).await?;
    // Keys and their echo are small, and somebody waits for them.
    stream.set_nodelay(true)?;
    if is_tls {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(tls_config()?)
            .connect(name, stream)
            .await?;
        exchange(stream, &request).await
    } else {
        exchange(stream, &request).await
    }
}

fn tls_config() -> io::Result<Arc<ClientConfig>> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
}

/// Sends the request and reads the response.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: &str,
) -> io::Result<UpgradeOutcome> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    let body_at = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.len() > MAX_RESPONSE {
            return Err(not_http());
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut body = bytes.split_off(body_at);
    let head = parse_head(&bytes).ok_or_else(not_http)?;
    if head.status == 101 {
        let (read, write) = tokio::io::split(stream);
        let first = io::Cursor::new(body);
        return Ok(UpgradeOutcome::Upgraded(Upgraded {
            read: Box::new(first.chain(read)),
            write: Box::new(write),
        }));
    }
    let length = head.length.unwrap_or(MAX_RESPONSE).min(MAX_RESPONSE);
    while body.len() < length && stream.read_buf(&mut body).await? > 0 {}
    Ok(UpgradeOutcome::Refused {
        status: head.status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Splits a host from its port; an IPv6 address loses its brackets.
fn split_port(authority: &str, default: u16) -> io::Result<(&str, u16)> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "CORUNDUM_API: not a URL");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| invalid())?),
        _ => (authority, default),
    };
    Ok((host.trim_start_matches('[').trim_end_matches(']'), port))
}

fn parse_head(bytes: &[u8]) -> Option<UpgradeHead> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next()?.split(' ');
    if !words.next()?.starts_with("HTTP/1.") {
        return None;
    }
    let status = words.next()?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    Some(UpgradeHead { status, length })
}

fn not_http() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its response is not HTTP/1.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_of_a_response_is_parsed() {
        let head = |text: &str| parse_head(text.as_bytes());
        assert_eq!(
            head("HTTP/1.1 404 Not Found\r\nContent-length: 12\r\n\r\n"),
            Some(UpgradeHead {
                status: 404,
                length: Some(12)
            })
        );
        assert_eq!(
            head("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
            Some(UpgradeHead {
                status: 101,
                length: None
            })
        );
        for other in ["SSH-2.0\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 x\r\n\r\n"] {
            assert_eq!(head(other), None);
        }
    }

    #[test]
    fn authority_is_split_at_its_port() {
        assert_eq!(split_port("a.example", 443).unwrap(), ("a.example", 443));
        assert_eq!(split_port("127.0.0.1:81", 80).unwrap(), ("127.0.0.1", 81));
        assert_eq!(split_port("[::1]:81", 80).unwrap(), ("::1", 81));
        assert_eq!(split_port("[::1]", 80).unwrap(), ("::1", 80));
        assert!(split_port("a.example:x", 80).is_err());
    }
}
