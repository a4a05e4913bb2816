//! Blocking HTTP/1.1 clients that send raw bytes and read whole responses.

use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longest pause between two bytes of a response: longer than H12's deadline of 30 s, so that the router's answer to a
/// stuck dyno arrives first.
const READ_TIMEOUT: Duration = Duration::from_secs(40);

/// Longest pause between two bytes for a [`RepeatingClient`], whose requests are short.
const REPEATED_TIMEOUT: Duration = Duration::from_secs(30);

/// Connects to `port` on loopback and sends `head`. The caller sends the body and reads the response.
pub fn open(port: u16, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Sends a request that closes its connection, and returns the whole response as text, chunks joined.
pub fn exchange(port: u16, request: &str) -> String {
    let mut stream = open(port, request);
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    String::from_utf8_lossy(&join_chunks(response)).into_owned()
}

/// Splits a response into its status and its body.
pub fn status_and_body(response: &str) -> (u16, String) {
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// Returns the value of a header field, empty if the response does not have it.
pub fn header<'a>(response: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    let head = response.split("\r\n\r\n").next().unwrap_or_default();
    let line = head
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with(&prefix));
    line.map_or("", |line| &line[prefix.len()..])
}

/// Removes the chunk framing from a response: on a busy machine even a small body may arrive in chunks.
pub fn join_chunks(response: Vec<u8>) -> Vec<u8> {
    let end = response.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, mut rest) = response.split_at(end.map_or(response.len(), |end| end + 4));
    let lower = head.to_ascii_lowercase();
    if !lower
        .windows(26)
        .any(|line| line == b"transfer-encoding: chunked")
    {
        return response;
    }
    let mut joined = head.to_vec();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        joined.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[(end + 2 + size + 2).min(rest.len())..];
    }
    joined
}

/// A connection that sends the same request again and again, one at a time.
#[derive(Debug)]
pub struct RepeatingClient {
    stream: BufReader<TcpStream>,
    request: String,
}

/// A response of known length, timed to its first byte.
#[derive(Debug)]
pub struct TimedResponse {
    /// Status code.
    pub status: u16,
    /// Time from the request to the first byte of the response.
    pub first_byte: Duration,
    /// The body.
    pub body: Vec<u8>,
    /// `true` if the server closes the connection after the response.
    pub closes: bool,
}

impl RepeatingClient {
    /// Connects to `port` on loopback to request `/` at `host`. `headers` are further lines, each ending in CRLF.
    ///
    /// # Errors
    ///
    /// Returns the error of the connection attempt.
    pub fn connect(port: u16, host: &str, headers: &str) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(during("connecting"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPEATED_TIMEOUT))?;
        Ok(Self {
            stream: BufReader::new(stream),
            request: format!("GET / HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"),
        })
    }

    /// Sends the request and reads a response with a `Content-Length`.
    ///
    /// # Errors
    ///
    /// Returns an error that names the part of the exchange that failed.
    pub fn get(&mut self) -> Result<TimedResponse> {
        let start = Instant::now();
        let request = self.request.as_bytes();
        self.stream
            .get_mut()
            .write_all(request)
            .map_err(during("sending"))?;
        self.stream.fill_buf().map_err(during("the status line"))?;
        let first_byte = start.elapsed();
        let mut line = String::new();
        self.stream
            .read_line(&mut line)
            .map_err(during("the status line"))?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| Error::other(format!("no status: {line:?}")))?;
        let (mut length, mut closes) = (0, false);
        loop {
            line.clear();
            self.stream
                .read_line(&mut line)
                .map_err(during("a header field"))?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(Error::other)?;
            }
            closes |=
                name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close");
        }
        let mut body = vec![0; length];
        self.stream
            .read_exact(&mut body)
            .map_err(during("the body"))?;
        Ok(TimedResponse {
            status,
            first_byte,
            body,
            closes,
        })
    }
}

/// Adds to an error during which part of an exchange it occurred.
fn during(part: &str) -> impl Fn(Error) -> Error {
    move |error| Error::new(error.kind(), format!("{part}: {error}"))
}
