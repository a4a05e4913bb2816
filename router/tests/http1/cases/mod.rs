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

use crate::case::Case;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
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
