//! The TLS handshake of one connection.

use std::io;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificates::Certificates;
use crate::client_info::AllowedHosts;

/// The fatal alert `unrecognized_name` (RFC 8446 section 6, RFC 6066 section 3), as the record that a server sends in
/// place of its hello. A client that names no host gets it as well, since no certificate would be right.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// First byte of a handshake record (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

const PLAIN_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 51\r\n\
    Connection: close\r\n\r\nThis port speaks https: write https:// in the URL.\n";

/// An established connection and the hosts of its certificate.
pub(crate) struct TlsConnection {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) hosts: AllowedHosts,
}

/// Performs the handshake within `most`. Returns `None` if it ends in another way: refused, broken off, too slow, or
/// finished as the validation of a TLS-ALPN-01 challenge.
pub(crate) async fn accept(
    certificates: &Certificates,
    stream: TcpStream,
    most: Duration,
) -> Option<TlsConnection> {
    let handshake = tokio::time::timeout(most, handshake(certificates, stream));
    match handshake.await {
        Ok(Ok(secured)) => secured,
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("TLS handshake timed out");
            None
        }
    }
}

async fn handshake(
    certificates: &Certificates,
    mut stream: TcpStream,
) -> io::Result<Option<TlsConnection>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first[0].is_ascii_uppercase() {
        refuse(&mut stream, PLAIN_HTTP).await?;
    }
    if first[0] != HANDSHAKE {
        return Ok(None);
    }
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    if let Some(config) = certificates.challenge(&hello) {
        let mut stream = start.into_stream(config).await?;
        stream.shutdown().await?;
        return Ok(None);
    }
    let Some(identity) = hello.server_name().and_then(|name| certificates.find(name)) else {
        let mut io = start.io;
        refuse(&mut io, &UNRECOGNIZED_NAME).await?;
        return Ok(None);
    };
    Ok(Some(TlsConnection {
        stream: start.into_stream(identity.config).await?,
        hosts: identity.hosts,
    }))
}

/// Sends a final message and closes the stream. Pending bytes are read first: a socket that closes with unread bytes is
/// reset, and the client would lose the message.
async fn refuse(stream: &mut TcpStream, word: &[u8]) -> io::Result<()> {
    let mut sent = [0; 4096];
    let _ = stream.try_read(&mut sent);
    stream.write_all(word).await?;
    stream.shutdown().await
}
