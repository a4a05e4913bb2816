//! What is known of the connection that a request came over.

use std::net::SocketAddr;

/// A client's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The client.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Whether it is encrypted.
    pub tls: bool,
}

impl Connection {
    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}
