//! The operator's decisions for one app, which apply to running dynos as soon as they change.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use corundum_abi::outbound::{OutboundDefault, OutboundTarget};

use super::refusal::Refusal;
use super::refusal_log::RefusalLog;

/// What the operator decides for an app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboundPolicy {
    /// Targets that apps may reach without a grant.
    pub default: OutboundDefault,
    /// Targets that the operator has granted to the app. A grant applies beside the app's list.
    pub grants: Vec<OutboundTarget>,
    /// Networks whose addresses count as private ones.
    pub private: Arc<[OutboundTarget]>,
}

/// The policy of one app on this node. All dynos of the app read it at each connection.
pub struct AppOutbound {
    policy: RwLock<Arc<OutboundPolicy>>,
    refusals: Mutex<RefusalLog>,
}

impl AppOutbound {
    /// Creates the state of an app with this policy.
    pub fn new(policy: OutboundPolicy) -> Arc<Self> {
        Arc::new(Self {
            policy: RwLock::new(Arc::new(policy)),
            refusals: Mutex::default(),
        })
    }

    /// Replaces the policy. Open connections stay; the next ones follow the new policy.
    pub fn set(&self, policy: OutboundPolicy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    pub(super) fn policy(&self) -> Arc<OutboundPolicy> {
        self.policy
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns the line for the app's log that a refusal deserves now, if any.
    pub(super) fn line_of(&self, refusal: &Refusal) -> Option<String> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.line(refusal, Instant::now())
    }
}

impl OutboundPolicy {
    /// Returns whether the operator declared an address private.
    pub(super) fn counts_as_private(&self, address: IpAddr) -> bool {
        self.private
            .iter()
            .any(|network| network.covers_address(address))
    }
}
