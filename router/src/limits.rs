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
            response_head: 64 << 10,
            response_headers: 256,
        }
    }
}

impl Limits {
    /// Whether a response's head with fields of these lengths, name and value, is within the limits.
    pub(crate) fn pass_head(&self, fields: impl Iterator<Item = usize>) -> bool {
        let add = |(number, bytes), field| (number + 1, bytes + field + 4);
        let (number, bytes) = fields.fold((0, 0), add);
        number <= self.response_headers && bytes <= self.response_head
    }
}
