//! The first token: issued over a socket in the data directory, to the user that runs the node.
//!
//! A client asks `GET /v1/login` for the path of the socket, connects to it, writes the address of the API and a line break,
//! and reads one line of JSON, a [`LoginResponse`]. The kernel tells the node which user has connected (`SO_PEERCRED`,
//! unix(7)). The address guards against another program that poses as the API: a client must not send it this node's token.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use corundum_api::authorization::AuthorizationCreate;
use corundum_api::login::{LoginResource, LoginResponse};
use corundum_api::{ErrorId, ErrorResource};
use corundum_store::Store;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::authorizations;
use super::response::{ApiResult, ok};
use crate::data_dir::DataDir;

/// The time for one login.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an address.
const MAX_ADDRESS: u64 = 300;

/// Issues tokens to the user that runs the node.
pub struct Login {
    store: Arc<dyn Store>,
    /// The address on which the API listens.
    api: SocketAddr,
}

/// Returns the path of the socket in a data directory.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("login.sock")
}

/// Listens for logins.
///
/// # Errors
///
/// The socket cannot be created.
pub(crate) fn listen(data: &DataDir) -> io::Result<UnixListener> {
    let path = socket_path(data.path());
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(&path)
}

impl Login {
    /// Creates the type that issues tokens for the API at `api`.
    pub fn new(store: Arc<dyn Store>, api: SocketAddr) -> Self {
        Self { store, api }
    }

    /// Serves logins until the task is aborted.
    pub(crate) async fn serve(self: Arc<Self>, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let login = self.clone();
                    tokio::spawn(tokio::time::timeout(TIMEOUT, async move {
                        if let Err(error) = login.answer(stream).await {
                            tracing::warn!(%error, "could not answer a login");
                        }
                    }));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a login");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        let user = stream.peer_cred()?.uid();
        let mut address = String::new();
        let (reader, _) = stream.split();
        BufReader::new(reader.take(MAX_ADDRESS))
            .read_line(&mut address)
            .await?;
        let answer = serde_json::to_string(&self.issue(user, address.trim()))?;
        stream.write_all(format!("{answer}\n").as_bytes()).await
    }

    fn issue(&self, user: u32, address: &str) -> LoginResponse {
        if user != rustix::process::getuid().as_raw() {
            return refused("A first token is given only to the user that runs the node");
        }
        if !is_own_address(self.api, address) {
            return refused("This node's API does not listen on that address");
        }
        let request = AuthorizationCreate {
            description: Some("corundum login".to_owned()),
            ..AuthorizationCreate::default()
        };
        match authorizations::issue(&*self.store, request) {
            Ok(authorization) => LoginResponse::Issued(Box::new(authorization)),
            Err(error) => LoginResponse::Refused(error.into_resource()),
        }
    }
}

/// Answers the path of the socket in a data directory.
pub(super) fn resource(data: &Path) -> ApiResult {
    ok(&LoginResource {
        socket: socket_path(data).display().to_string(),
    })
}

fn refused(message: &str) -> LoginResponse {
    LoginResponse::Refused(ErrorResource::new(ErrorId::Forbidden, message))
}

/// Returns whether `address` (`localhost` or a loopback address, with a port) reaches an API that listens on `api`.
fn is_own_address(api: SocketAddr, address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let listens = |ip: std::net::IpAddr| {
        let (ip, own) = (ip.to_canonical(), api.ip().to_canonical());
        ip.is_loopback() && (ip == own || own.is_unspecified())
    };
    let reaches = match host {
        "localhost" => api.ip().to_canonical().is_loopback() || api.ip().is_unspecified(),
        host => host.parse().is_ok_and(listens),
    };
    reaches && port.parse() == Ok(api.port())
}

#[cfg(test)]
mod tests {
    use corundum_store::SqliteStore;

    use super::super::auth;
    use super::*;

    #[test]
    fn only_loopback_addresses_of_the_api_are_accepted() {
        let loopback = "127.0.0.1:8081".parse().unwrap();
        let any = "0.0.0.0:8081".parse().unwrap();
        for address in ["localhost:8081", "127.0.0.1:8081"] {
            assert!(is_own_address(loopback, address), "{address}");
            assert!(is_own_address(any, address), "{address}");
        }
        let six = "[::1]:8081".parse().unwrap();
        assert!(is_own_address(six, "[::1]:8081"));
        for address in [
            "localhost:8082",
            "127.0.0.1",
            "127.0.0.2:8081",
            "10.0.0.1:8081",
            "evil.example:8081",
            "",
        ] {
            assert!(!is_own_address(loopback, address), "{address}");
        }
    }

    fn is_forbidden(answer: &LoginResponse) -> bool {
        matches!(answer, LoginResponse::Refused(error) if error.id == ErrorId::Forbidden)
    }

    #[tokio::test]
    async fn user_of_the_node_gets_a_token() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&data.store_file()).unwrap());
        let listener = listen(&data).unwrap();
        let login = Arc::new(Login::new(store.clone(), "127.0.0.1:8081".parse().unwrap()));
        let serving = tokio::spawn(login.serve(listener));
        let ask = async |address: &str| {
            let mut stream = UnixStream::connect(socket_path(data.path())).await.unwrap();
            let line = format!("{address}\n");
            stream.write_all(line.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            serde_json::from_str::<LoginResponse>(&answer).unwrap()
        };
        let answer = ask("127.0.0.1:8081").await;
        let mut headers = http::HeaderMap::new();
        let LoginResponse::Issued(authorization) = answer else {
            panic!("{answer:?}");
        };
        let bearer = format!("Bearer {}", authorization.access_token.unwrap().token);
        headers.insert(http::header::AUTHORIZATION, bearer.parse().unwrap());
        assert!(auth::valid_token(&*store, &headers).is_some());
        assert!(is_forbidden(&ask("127.0.0.1:1").await));
        serving.abort();
    }

    #[test]
    fn another_user_gets_no_token() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("db")).unwrap();
        let login = Login::new(Arc::new(store), "127.0.0.1:8081".parse().unwrap());
        let other = rustix::process::getuid().as_raw() + 1;
        let answer = login.issue(other, "127.0.0.1:8081");
        assert!(is_forbidden(&answer));
    }
}
