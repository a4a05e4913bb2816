//! A client that keeps its connection: one request at a time, timed to the first byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A connection to one host.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    request: String,
}

/// One answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) first_byte: Duration,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Connects to `port` of this machine, to ask for `/` at `host`.
    pub(crate) fn connect(port: u16, host: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            stream: BufReader::new(stream),
            request: format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        })
    }

    /// Asks once.
    pub(crate) fn get(&mut self) -> std::io::Result<Answer> {
        let start = Instant::now();
        self.stream.get_mut().write_all(self.request.as_bytes())?;
        let mut line = String::new();
        self.stream.fill_buf()?;
        let first_byte = start.elapsed();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("no status: {line:?}")))?;
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer {
            status,
            first_byte,
            body,
        })
    }
}
