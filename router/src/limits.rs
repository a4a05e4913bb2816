//! What one request may take, in bytes and in time. What one connection may take is in
//! [`ServerLimits`](crate::server::ServerLimits).

use std::time::Duration;

/// Limits of requests and responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests of one app that are under way at once (H22), those that wait or still arrive among them. Half of the
    /// node's connections: no app can take them all, however slow its clients or its dynos are.
    pub requests: u32,
    /// Bytes of a request's body that are gathered before a dyno is taken, so that a slow client keeps none busy. Most
    /// forms and photographs fit; what is longer goes on while the dyno has it.
    pub request_buffer: usize,
    /// Bytes of a response that wait for a slow client while the dyno goes on.
    pub response_buffer: usize,
    /// Bytes of all bodies that wait, both ways, on this node. Without room left, bodies pass as they come.
    pub buffers: usize,
    /// Bytes that the encoders of all bodies under way take on this node, some 350 KiB each. Without room left, bodies go
    /// out as they are.
    pub encoders: usize,
    /// Without a byte of a request's body, or without the client's taking one of the response (H28).
    pub client_idle: Duration,
    /// Without a byte of a response that the dyno has begun (H15).
    pub dyno_idle: Duration,
    /// Bytes of a response's head (H25). Clients and proxies in between take 16 to 256 KiB.
    pub response_head: usize,
    /// Headers of a response (H25).
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
    /// Whether a response's head is passed on that has fields of these lengths, name and value.
    pub(crate) fn pass_head(&self, fields: impl Iterator<Item = usize>) -> bool {
        let add = |(number, bytes), field| (number + 1, bytes + field + 4);
        let (number, bytes) = fields.fold((0, 0), add);
        number <= self.response_headers && bytes <= self.response_head
    }
}
