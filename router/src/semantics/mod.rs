//! HTTP semantics (RFC 9110): one evaluator for each rule, whatever answers the request.
//!
//! Static files and the cache both choose a representation and then ask this module what to send:
//! [`preconditions`] decides between 200, 304 and 412, [`byte_range`] selects the bytes of a 206, [`partial_content`]
//! builds that response, and [`accept_encoding`] chooses a content coding. [`entity_tag`] and [`list`] parse the field
//! values that the rules share. Nothing here holds state, does I/O or knows files, the cache or the proxy.

pub mod accept_encoding;
pub mod byte_range;
pub(crate) mod entity_tag;
pub(crate) mod list;
pub(crate) mod partial_content;
pub mod preconditions;
