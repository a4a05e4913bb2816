//! Compression of responses from dynos and the cache.
//!
//! Compression is the last stage before the socket: everything behind it, including the cache, sees the bytes as the
//! app made them. [`response`] compresses one response: [`compressible`] decides whether that is worth it,
//! [`negotiation`] chooses the client's coding, [`headers`] adapts the headers, [`coded_tag`] gives each coding an
//! entity tag of its own, and [`tag_translation`] prevents clients from combining bytes of two forms. [`encoder`] wraps the libraries; [`encoding_body`] encodes a body while
//! it streams. The cache keeps encoded variants of its own, and static files are encoded at build time.

mod coded_tag;
pub(crate) mod compressible;
pub(crate) mod encoder;
pub(crate) mod encoding_body;
pub(crate) mod headers;
pub(crate) mod negotiation;
pub(crate) mod response;
mod setting;
pub(crate) mod tag_translation;

pub use setting::Compression;
