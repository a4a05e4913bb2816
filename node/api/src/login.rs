//! Login at the node's own machine. The API's own: the first token is issued over a Unix socket.

use serde::{Deserialize, Serialize};

use crate::authorization::AuthorizationResource;
use crate::error::ErrorResource;

/// The way to a first token. Its endpoint needs no token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginResource {
    /// The path of the Unix socket in the node's data directory.
    pub socket: String,
}

/// The line that the socket answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LoginResponse {
    /// The token.
    Issued(Box<AuthorizationResource>),
    /// The reason why the caller gets no token.
    Refused(ErrorResource),
}
