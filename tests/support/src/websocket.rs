//! A client of WebSockets (RFC 6455), as far as tests need one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::http1;
use crate::node::TestNode;

/// The key of the example in RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A connection to an app.
#[derive(Debug)]
pub struct WebSocketClient(TcpStream);

impl From<TcpStream> for WebSocketClient {
    /// Takes a connection after its handshake.
    fn from(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl WebSocketClient {
    /// Sends a handshake with further header lines, each with its line end. Returns the connection and the head of the response.
    ///
    /// # Panics
    ///
    /// Panics if the node does not answer.
    pub fn request(node: &TestNode, app: &str, path: &str, headers: &str) -> (TcpStream, String) {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {app}.localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
        );
        let mut stream = http1::open(node.http(), &head);
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
            head.push(byte[0]);
        }
        (stream, String::from_utf8(head).unwrap())
    }

    /// Connects to an app. Returns the connection and the head of the response in lower case.
    ///
    /// # Panics
    ///
    /// Panics if the app does not accept the connection.
    pub fn connect(node: &TestNode, app: &str, path: &str, headers: &str) -> (Self, String) {
        let (stream, head) = Self::request(node, app, path, headers);
        assert!(
            head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{head}"
        );
        (Self(stream), head.to_lowercase())
    }

    /// Sends a masked frame of at most 65,535 bytes.
    ///
    /// # Panics
    ///
    /// Panics if the connection has ended.
    pub fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            0..126 => frame.push(0x80 | payload.len() as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        frame.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.0.write_all(&frame).unwrap();
    }

    /// Reads a frame: its opcode and payload. Returns `None` at the end of the connection.
    ///
    /// # Panics
    ///
    /// Panics if the connection ends in the middle of a frame.
    pub fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).ok()?;
        let length = match head[1] & 127 {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length).unwrap();
                usize::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.0.read_exact(&mut length).unwrap();
                u64::from_be_bytes(length) as usize
            }
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).unwrap();
        Some((head[0] & 15, payload))
    }

    /// Reads frames until a text contains `expected`, and returns that text.
    ///
    /// # Panics
    ///
    /// Panics if the connection ends before.
    pub fn receive_text(&mut self, expected: &str) -> String {
        let mut seen = String::new();
        while let Some((opcode, payload)) = self.receive() {
            let text = String::from_utf8_lossy(&payload).into_owned();
            if opcode == 1 && text.contains(expected) {
                return text;
            }
            seen += &format!("{opcode} {text}\n");
        }
        panic!("{expected:?} is missing in:\n{seen}");
    }
}
