//! The rules of [`crate::outbound`] as sockets ask them.

use std::net::{IpAddr, SocketAddr};

use corundum_abi::outbound::Transport;
use wasi_common::snapshots::preview_1::types::Errno;

use super::address;
use crate::outbound::{OutboundGate, RefusalReason};

/// The gate of one dyno, which its sockets and lookups share.
pub(super) struct OutboundAccess(OutboundGate);

impl OutboundAccess {
    pub(super) fn new(gate: OutboundGate) -> Self {
        Self(gate)
    }

    /// Returns whether an address is the dyno itself, and not one of the node that the operator has granted.
    pub(super) fn is_own(&self, to: SocketAddr, transport: Transport) -> bool {
        address::is_own(to.ip()) && !self.0.rules().reaches_node_loopback(to, transport)
    }

    /// Checks an address that is not the dyno's own. The socket is connected to exactly this address.
    ///
    /// # Errors
    ///
    /// `EACCES` if the dyno may not reach it; the app's log says why.
    pub(super) fn check(&self, to: SocketAddr, transport: Transport) -> Result<(), Errno> {
        self.0.check(to, transport).map_err(|_| Errno::Acces)
    }

    /// Checks a name that a dyno wants to resolve, and returns the name to resolve.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it is not a name, `EACCES` if the dyno may not reach hosts of that name; the app's log says why.
    pub(super) fn check_name(&self, name: &str) -> Result<String, Errno> {
        self.0
            .check_name(name)
            .map_err(|refusal| match refusal.reason() {
                RefusalReason::InvalidName => Errno::Noent,
                _ => Errno::Acces,
            })
    }

    /// Takes the addresses of a name, notes those that the dyno may learn, and returns them.
    ///
    /// # Errors
    ///
    /// `EACCES` if it may learn none.
    pub(super) fn admit(&self, name: &str, found: &[IpAddr]) -> Result<Vec<IpAddr>, Errno> {
        self.0.admit(name, found).map_err(|_| Errno::Acces)
    }
}
