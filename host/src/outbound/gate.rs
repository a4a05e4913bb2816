//! The rules as one dyno's host functions ask them.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_abi::outbound::Transport;

use super::names::ResolvedNames;
use super::refusal::{Refusal, RefusalReason};
use super::rules::OutboundRules;
use crate::account::{Account, Holding};
use crate::log::LogSink;

/// The rules of one dyno, with the names that it has resolved and the log of its app.
///
/// Look-ups end in tasks beside the dyno's own, so the gate can be shared with them.
///
/// Every refusal is `EACCES` to the guest, and a line in the app's log if the log does not have it yet.
pub struct OutboundGate {
    rules: OutboundRules,
    names: Mutex<ResolvedNames>,
    account: Arc<Account>,
    log: Arc<dyn LogSink>,
}

impl OutboundGate {
    /// Creates the gate of a new dyno.
    pub(crate) fn new(rules: OutboundRules, account: &Arc<Account>, log: Arc<dyn LogSink>) -> Self {
        Self {
            rules,
            names: Mutex::default(),
            account: account.clone(),
            log,
        }
    }

    /// Returns the rules.
    pub fn rules(&self) -> &OutboundRules {
        &self.rules
    }

    /// Decides about a connection or a datagram to an address that is not the dyno's own.
    ///
    /// The caller connects to exactly this address.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], which the log has.
    pub fn check(&self, address: SocketAddr, transport: Transport) -> Result<(), Refusal> {
        let checked = self.rules.check(address, transport, &self.names());
        checked.inspect_err(|refusal| self.report(refusal))
    }

    /// Decides about a look-up before it is made, and returns the name to resolve.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], which the log has. [`RefusalReason::InvalidName`] is for text that no name server knows.
    pub fn check_name(&self, name: &str) -> Result<String, Refusal> {
        let checked = self.rules.check_name(name);
        checked.inspect_err(|refusal| self.report(refusal))
    }

    /// Takes the addresses of a name that [`Self::check_name`] returned, remembers those that the dyno may learn, and
    /// returns them.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], which the log has, if the dyno may learn none of them.
    pub fn admit(&self, name: &str, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Refusal> {
        let admitted = self.rules.admitted(name, addresses);
        let admitted = admitted.inspect_err(|refusal| self.report(refusal))?;
        let charge = || self.account.charge(Holding::Names);
        // A name that the node has no memory for is forgotten: a list then refuses its address.
        let _ = self.names().record(name, &admitted, charge);
        Ok(admitted)
    }

    fn names(&self) -> MutexGuard<'_, ResolvedNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, refusal: &Refusal) {
        // The library of the app reports such a name as unknown.
        if refusal.reason() == RefusalReason::InvalidName {
            return;
        }
        if let Some(line) = self.rules.line_of(refusal) {
            self.log.platform_line(&line);
        }
    }
}
