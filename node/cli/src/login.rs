//! Login over the node's Unix socket, where the kernel tells the node which user asks (SO_PEERCRED).

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use corundum_api::login::LoginResponse;

/// Most bytes of a response: a token and its description.
const MAX_RESPONSE: u64 = 64 << 10;

/// Time for the node to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the socket of the node that uses a data directory.
pub(crate) fn socket_of(data_dir: &Path) -> PathBuf {
    data_dir.join("login.sock")
}

/// Requests a token over a node's socket.
///
/// The node is told the address of the API that the token is for, and refuses if it is not its own: another program that
/// poses as the API could otherwise name this node's socket and be sent its token.
pub(crate) fn request_token(socket: &Path, api: &str) -> anyhow::Result<String> {
    let mut stream = UnixStream::connect(socket).with_context(|| {
        format!(
            "login: no node of this user listens on {}\nOn the node's machine, name its data directory: corundum login --data-dir DIR\nElsewhere, bring a token: corundum login --token-stdin",
            socket.display()
        )
    })?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    writeln!(stream, "{api}")?;
    let mut response = String::new();
    BufReader::new(stream.take(MAX_RESPONSE)).read_line(&mut response)?;
    token_in(&response)
}

/// Reads the token in a response.
fn token_in(response: &str) -> anyhow::Result<String> {
    let invalid = "login: the node returned an invalid response";
    match serde_json::from_str(response).context(invalid)? {
        LoginResponse::Issued(authorization) => {
            let token = authorization.access_token.context(invalid)?;
            Ok(token.token)
        }
        LoginResponse::Refused(error) => bail!(error.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_login_says_why() {
        let refused = "{\"id\": \"forbidden\", \"message\": \"another user\"}\n";
        assert_eq!(token_in(refused).unwrap_err().to_string(), "another user");
        for invalid in ["", "{}", "no"] {
            let error = token_in(invalid).unwrap_err().to_string();
            assert!(error.contains("invalid response"), "{error}");
        }
    }

    #[test]
    fn a_missing_socket_names_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let socket = socket_of(directory.path());
        let error = request_token(&socket, "127.0.0.1:8081").unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("--data-dir") && text.contains("--token-stdin"),
            "{text}"
        );
    }
}
