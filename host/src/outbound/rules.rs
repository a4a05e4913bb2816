//! The decision about one endpoint or one name.
//!
//! | address | reachable by |
//! |---|---|
//! | public | the app's list; without a list, the operator's default; a grant |
//! | private | a grant of its name, its address or its network |
//! | the machine's own, loopback, link-local, metadata, tunnels | a grant of exactly this address |
//! | unspecified, multicast, broadcast | nothing |
//!
//! The list is the app's own and comes with its release. A grant is the operator's, and applies beside the list: the
//! author of an app does not know the address of the database that an operator gives to it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use corundum_abi::outbound::{
    OutboundDefault, OutboundPolicy, OutboundTarget, Transport, host_name,
};
use corundum_abi::public_address::{AddressKind, address_kind};

use super::names::ResolvedNames;
use super::own_address;
use super::policy::AppOutbound;
use super::refusal::{Refusal, RefusalReason, RefusedAttempt};

/// The rules for dynos of one release. Cheap to clone.
#[derive(Clone)]
pub struct OutboundRules(Arc<ReleaseRules>);

struct ReleaseRules {
    /// Targets that the app's `app.json` lists, if it has a list.
    list: Option<Vec<OutboundTarget>>,
    app: Arc<AppOutbound>,
}

/// Trust that an address needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Public,
    Private,
    Machine,
    Never,
}

impl OutboundRules {
    /// Creates the rules of a release with the list of its `app.json`, for the app with this policy.
    pub fn new(list: Option<Vec<OutboundTarget>>, app: Arc<AppOutbound>) -> Self {
        Self(Arc::new(ReleaseRules { list, app }))
    }

    /// Creates rules that refuse everything, for guests that belong to no app.
    pub fn closed() -> Self {
        let policy = OutboundPolicy {
            default: OutboundDefault::Granted,
            ..OutboundPolicy::default()
        };
        Self::new(None, AppOutbound::new(policy))
    }

    /// Returns whether a connection to an address of the loopback network reaches the node's, since the operator has
    /// granted exactly this endpoint, and not the dyno's own.
    pub fn reaches_node_loopback(&self, address: SocketAddr, transport: Transport) -> bool {
        let policy = self.0.app.policy();
        let mut grants = policy.grants.iter();
        address_kind(address.ip()) == AddressKind::Loopback
            && grants.any(|grant| {
                grant.is_address(address.ip()) && grant.covers_port(address.port(), transport)
            })
    }

    /// Decides about a connection or a datagram to an endpoint. `names` is what the dyno has resolved.
    ///
    /// The decision is about the address that the socket is then connected to. A name plays no part in it but by the
    /// addresses that it had.
    pub(super) fn check(
        &self,
        address: SocketAddr,
        transport: Transport,
        names: &ResolvedNames,
    ) -> Result<(), Refusal> {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let policy = self.0.app.policy();
        let refused = |reason| {
            let name = names.of(ip).next();
            let attempt = RefusedAttempt::endpoint(address, transport, name);
            Err(Refusal { attempt, reason })
        };
        let mut grants = policy
            .grants
            .iter()
            .filter(|grant| grant.covers_port(port, transport));
        let reach = reach(ip, &policy);
        if reach == Reach::Never {
            return refused(RefusalReason::Never);
        }
        if grants.clone().any(|grant| grant.is_address(ip)) {
            return Ok(());
        }
        let covers = |target: &OutboundTarget| {
            target.covers_address(ip) || names.of(ip).any(|name| target.covers_name(name))
        };
        let reason = match reach {
            Reach::Machine | Reach::Never => Some(RefusalReason::Machine),
            Reach::Private if grants.any(covers) => None,
            Reach::Private => Some(RefusalReason::Private),
            Reach::Public if grants.any(|grant| grant.covers_any_host() || covers(grant)) => None,
            Reach::Public => self.missing(&policy, |target| {
                target.covers_port(port, transport) && (target.covers_any_host() || covers(target))
            }),
        };
        match reason {
            Some(reason) => refused(reason),
            // The last question, since the kernel answers it.
            None if own_address::is_own(ip) => refused(RefusalReason::Machine),
            None => Ok(()),
        }
    }

    /// Decides about a look-up, and returns the name in the form in which names are compared.
    ///
    /// Names are a way out of the node too: a look-up takes the text of the name to the server of its owner. So an app
    /// with a list resolves the names of its list alone.
    pub(super) fn check_name(&self, text: &str) -> Result<String, Refusal> {
        let refused = |reason| {
            let attempt = RefusedAttempt::name(text);
            Err(Refusal { attempt, reason })
        };
        let Some(name) = host_name(text) else {
            return refused(RefusalReason::InvalidName);
        };
        let policy = self.0.app.policy();
        let covers =
            |target: &OutboundTarget| target.covers_any_host() || target.covers_name(&name);
        if policy.grants.iter().any(covers) {
            return Ok(name);
        }
        match self.missing(&policy, covers) {
            Some(reason) => refused(reason),
            None => Ok(name),
        }
    }

    /// Returns those addresses of a resolved name that the app may learn and connect to.
    ///
    /// Addresses of the node's networks are left out unless they are granted, so that an app cannot map them. Those of
    /// the loopback network stay: they are the dyno itself.
    pub(super) fn admitted(
        &self,
        name: &str,
        addresses: &[IpAddr],
    ) -> Result<Vec<IpAddr>, Refusal> {
        let policy = self.0.app.policy();
        let mut reason = None;
        let mut admitted = Vec::new();
        for address in addresses {
            let granted =
                |grant: &OutboundTarget| grant.covers_address(*address) || grant.covers_name(name);
            let exactly = |grant: &OutboundTarget| grant.is_address(*address);
            let refusal = match reach(*address, &policy) {
                _ if address_kind(*address) == AddressKind::Loopback => None,
                Reach::Public => None,
                Reach::Private if policy.grants.iter().any(granted) => None,
                Reach::Private => Some(RefusalReason::Private),
                Reach::Machine if policy.grants.iter().any(exactly) => None,
                Reach::Machine => Some(RefusalReason::Machine),
                Reach::Never => Some(RefusalReason::Never),
            };
            match refusal {
                Some(refusal) => reason = reason.or(Some(refusal)),
                None => admitted.push(*address),
            }
        }
        match reason {
            Some(reason) if admitted.is_empty() => Err(Refusal {
                attempt: RefusedAttempt::name(name),
                reason,
            }),
            _ => Ok(admitted),
        }
    }

    /// Returns the line for the app's log that a refusal deserves now, if any.
    pub(super) fn line_of(&self, refusal: &Refusal) -> Option<String> {
        self.0.app.line_of(refusal)
    }

    /// Returns the reason why a target that is not granted is out of reach, or `None` if it is within: the default and
    /// the app's list allow it.
    fn missing(
        &self,
        policy: &OutboundPolicy,
        covers: impl Fn(&OutboundTarget) -> bool,
    ) -> Option<RefusalReason> {
        match (policy.default, &self.0.list) {
            (OutboundDefault::Granted, _) => Some(RefusalReason::NotGranted),
            (OutboundDefault::Listed, None) => Some(RefusalReason::NoList),
            (OutboundDefault::Public, None) => None,
            (_, Some(list)) if list.iter().any(covers) => None,
            (_, Some(_)) => Some(RefusalReason::NotListed),
        }
    }
}

/// Returns the trust that an address needs.
fn reach(address: IpAddr, policy: &OutboundPolicy) -> Reach {
    match address_kind(address) {
        AddressKind::Unspecified | AddressKind::Multicast => Reach::Never,
        AddressKind::Loopback
        | AddressKind::LinkLocal
        | AddressKind::Metadata
        | AddressKind::Tunnel => Reach::Machine,
        AddressKind::Private | AddressKind::Reserved => Reach::Private,
        AddressKind::Public if policy.counts_as_private(address) => Reach::Private,
        AddressKind::Public => Reach::Public,
    }
}

#[cfg(test)]
mod tests;
