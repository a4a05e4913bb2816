//! Memory that bodies occupy while they wait for a slow client or dyno.

/// Bytes that a piece of a body occupies beside its content, however small that is. Each piece reserves them too, so
/// that many tiny pieces cannot take more memory than a few large ones.
pub(crate) const PIECE: usize = 256;
