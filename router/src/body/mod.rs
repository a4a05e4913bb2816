//! Bodies of requests and responses, and the memory that they wait in.
//!
//! [`request_buffer`] reads a request's body before a dyno is taken, and [`response_buffer`] holds the bytes that a
//! slow client has not read yet; both reserve their memory from one [`memory_budget`]. [`response_body`] is the body
//! that hyper sends; [`source`] and [`streamed_body`] provide its bytes, and [`outcome`] says how it ended.

pub(crate) mod memory_budget;
pub(crate) mod outcome;
pub(crate) mod request_buffer;
pub(crate) mod response_body;
pub(crate) mod response_buffer;
pub(crate) mod source;
pub(crate) mod streamed_body;
