//! HTTP semantics (RFC 9110) that do not depend on where a representation comes from.

pub mod accept_encoding;
pub(crate) mod byte_range;
