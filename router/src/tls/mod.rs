//! TLS: certificates by the name that a client asks for, and the handshake.
//!
//! [`certificates`] is the table that handshakes look names up in; replacing it leaves established connections alone.
//! [`handshake`] performs one handshake. The node decides which app has which certificate, and orders or loads them.

pub mod certificates;
pub(crate) mod handshake;
