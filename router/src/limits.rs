//! Limits of requests and responses, in bytes and time, and of connections.

use std::time::Duration;

/// Limits of requests and responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent requests of one app (H22), including those that wait or still arrive. Half of the node's connections,
    /// so that no app can take them all, however slow its clients or dynos are.
    pub requests: u32,
    /// Bytes of a request's body that the router buffers before it takes a dyno, so that a slow client keeps no dyno
    /// busy. Most forms and photographs fit; the rest of a longer body streams to the dyno.
    pub request_buffer: usize,
    /// Bytes of a response that wait for a slow client while the dyno continues.
    pub response_buffer: usize,
    /// Bytes of all waiting bodies on this node, in both directions. When they are used up, bodies stream without
    /// buffering.
    pub buffers: usize,
    /// Bytes that the encoders of all bodies in flight occupy on this node, about 350 KiB each. When they are used up,
    /// bodies are sent unencoded.
    pub encoders: usize,
    /// Longest pause without a byte of a request's body, or without the client reading a byte of the response (H28).
    pub client_idle: Duration,
    /// Longest pause in a response that the dyno has begun (H15).
    pub dyno_idle: Duration,
    /// Header fields of a request (431). Cookies that HTTP/2 sends in pieces count as one.
    pub request_headers: usize,
    /// Bytes of a response's head (H25). Clients and proxies accept 16 to 256 KiB.
    pub response_head: usize,
    /// Header fields of a response (H25).
    pub response_headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 10_000,
            request_buffer: 1 << 20,
            response_buffer: 1 << 20,
            buffers: 128 << 20,
            encoders: 128 << 20,
            client_idle: Duration::from_secs(55),
            dyno_idle: Duration::from_secs(55),
            request_headers: 100,
            response_head: 64 << 10,
            response_headers: 256,
        }
    }
}

impl Limits {
    /// Returns whether a response's head with fields of these lengths, name and value, is within the limits.
    pub(crate) fn pass_head(&self, fields: impl Iterator<Item = usize>) -> bool {
        let add = |(number, bytes), field| (number + 1, bytes + field + 4);
        let (number, bytes) = fields.fold((0, 0), add);
        number <= self.response_headers && bytes <= self.response_head
    }
}

/// Limits of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Concurrent connections. Each takes some kilobytes and a descriptor, of which a process has 1,024 unless it
    /// raises its limit; further connections wait in the kernel's queue.
    pub connections: usize,
    /// Time for a TLS handshake to finish.
    pub handshake: Duration,
    /// Time for a request's head to arrive (408), and for the first byte of a connection.
    pub head: Duration,
    /// Time that a connection stays open without a request, after its first one.
    pub idle: Duration,
    /// Time without a request after which a connection frees everything but its socket.
    pub park: Duration,
    /// Concurrent requests on an HTTP/2 connection.
    pub streams: u32,
    /// Requests of an HTTP/2 connection that its client may reset before the router accepts them; one more closes the
    /// connection (CVE-2023-44487).
    pub resets: usize,
    /// Bytes that hyper reads ahead; more than a head may have.
    pub buffer: usize,
    /// Time for requests in flight to finish when the router stops.
    pub drain: Duration,
    /// Time that a connection without a request stays open when the router stops: a client that is about to send a
    /// request gets its answer, and learns that it has to open another connection.
    pub linger: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            park: Duration::from_secs(2),
            streams: 100,
            resets: 20,
            buffer: 128 << 10,
            drain: Duration::from_secs(30),
            linger: Duration::from_secs(3),
        }
    }
}
