//! A gem server of the compact index that can be told to misbehave.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// Response of the gem server to one path.
#[derive(Debug, Clone)]
pub enum GemResponse {
    /// 200 with these bytes.
    Bytes(Vec<u8>),
    /// This status and an empty body.
    Status(u16),
    /// 302 to this location.
    Redirect(String),
    /// 200 with half of these bytes; then the server closes the connection.
    Truncated(Vec<u8>),
    /// 200 with a body that never ends.
    Endless,
    /// No response until the client closes the connection.
    Silence,
    /// Bytes that are not HTTP.
    NotHttp,
}

#[derive(Default)]
struct GemServerState {
    responses: BTreeMap<String, GemResponse>,
    requested: Vec<String>,
    /// Value that the header `Authorization` must have.
    authorization: Option<String>,
    stopped: bool,
}

/// A gem server on a free port of loopback. It stops when it is dropped.
pub struct GemServer {
    port: u16,
    state: Arc<Mutex<GemServerState>>,
}

impl GemServer {
    /// Starts a server without gems.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(GemServerState::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().stopped {
                    return;
                }
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Self { port, state }
    }

    /// Returns the URL of the server, with a slash at its end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Publishes a gem and returns its SHA-256 checksum in hexadecimal.
    pub fn publish(&self, name: &str, version: &str, gem: &[u8]) -> String {
        let checksum = format!("{:x}", Sha256::digest(gem));
        let line = format!("{version} |checksum:{checksum},ruby:>= 2.0\n");
        self.add_to_index(name, &line);
        self.set(
            &format!("/gems/{name}-{version}.gem"),
            GemResponse::Bytes(gem.to_vec()),
        );
        checksum
    }

    /// Adds a line to the index of a gem.
    pub fn add_to_index(&self, name: &str, line: &str) {
        let path = format!("/info/{name}");
        let mut state = self.state.lock().unwrap();
        let known = match state.responses.get(&path) {
            Some(GemResponse::Bytes(known)) => known.clone(),
            _ => b"---\n".to_vec(),
        };
        let index = [&known, line.as_bytes()].concat();
        state.responses.insert(path, GemResponse::Bytes(index));
    }

    /// Sets the response to `path`.
    pub fn set(&self, path: &str, response: GemResponse) {
        let mut state = self.state.lock().unwrap();
        state.responses.insert(path.to_owned(), response);
    }

    /// Rejects requests without this value of the header `Authorization`.
    pub fn require_authorization(&self, value: &str) {
        self.state.lock().unwrap().authorization = Some(value.to_owned());
    }

    /// Returns the paths that clients requested since the last call.
    pub fn requested(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requested)
    }

    /// Stops the server: it refuses connections from now on.
    pub fn stop(&self) {
        let was = std::mem::replace(&mut self.state.lock().unwrap().stopped, true);
        if !was {
            // The connection wakes the accepting thread, which then ends.
            let _ = TcpStream::connect(("127.0.0.1", self.port));
            while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Drop for GemServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<GemServerState>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let response = {
        let mut state = state.lock().unwrap();
        state.requested.push(path.clone());
        let denied = state.authorization.as_ref().is_some_and(|value| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            !lines.any(|(name, sent)| name.eq_ignore_ascii_case("authorization") && sent == value)
        });
        match denied {
            true => Some(GemResponse::Status(401)),
            false => state.responses.get(&path).cloned(),
        }
    };
    // The client may have closed the connection, which is not a failure of the server.
    let _ = reply(&mut stream, response.unwrap_or(GemResponse::Status(404)));
}

fn reply(stream: &mut TcpStream, response: GemResponse) -> std::io::Result<()> {
    let head = |status: u16, fields: &str| {
        format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n{fields}\r\n")
    };
    let sized = |bytes: &[u8]| head(200, &format!("Content-Length: {}\r\n", bytes.len()));
    match response {
        GemResponse::Bytes(bytes) => stream.write_all(&[sized(&bytes).as_bytes(), &bytes].concat()),
        GemResponse::Status(status) => {
            stream.write_all(head(status, "Content-Length: 0\r\n").as_bytes())
        }
        GemResponse::Redirect(to) => {
            let fields = format!("Location: {to}\r\nContent-Length: 0\r\n");
            stream.write_all(head(302, &fields).as_bytes())
        }
        GemResponse::Truncated(bytes) => {
            stream.write_all(&[sized(&bytes).as_bytes(), &bytes[..bytes.len() / 2]].concat())
        }
        GemResponse::Endless => {
            stream.write_all(head(200, "Transfer-Encoding: chunked\r\n").as_bytes())?;
            loop {
                stream.write_all(b"5\r\n---\n\n\r\n")?;
            }
        }
        GemResponse::Silence => stream.read(&mut [0]).map(drop),
        GemResponse::NotHttp => stream.write_all(b"220 mail.example.com ESMTP\r\n\r\n"),
    }
}
