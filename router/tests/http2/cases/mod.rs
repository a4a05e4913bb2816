//! The corpus, written from RFC 9113 and RFC 7541.

mod compression;
mod control;
mod requests;
mod streams;

use crate::case::Http2Case;

/// Returns all cases.
pub(crate) fn all() -> Vec<Http2Case> {
    let groups = [
        streams::cases(),
        control::cases(),
        requests::cases(),
        compression::cases(),
    ];
    groups.into_iter().flatten().collect()
}
