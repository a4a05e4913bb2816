//! The corpus, written from RFC 9112.

mod chunked;
mod connection;
mod fields;
mod host;
mod length;
mod pipelining;
mod request_line;
mod smuggling;
mod target;

use crate::case::Http1Case;

/// Returns all cases.
pub(crate) fn all() -> Vec<Http1Case> {
    let groups = [
        request_line::cases(),
        target::cases(),
        host::cases(),
        fields::cases(),
        length::cases(),
        chunked::cases(),
        smuggling::cases(),
        pipelining::cases(),
        connection::cases(),
    ];
    groups.into_iter().flatten().collect()
}
