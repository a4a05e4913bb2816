//! TLS in front of the router: certificates by the name that a client asks for, and the handshake.
//!
//! [`certificates`] is the table that handshakes look names up in, swapped in whole while connections go on; [`accept`]
//! takes one connection through its handshake. Which app has which certificate, and where they come from, is the node's.

pub mod certificates;
pub(crate) mod handshake;
