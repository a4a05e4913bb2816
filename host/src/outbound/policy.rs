//! The state of one app that its dynos share: the operator's policy, which applies to running dynos as soon as it changes,
//! and the refusals that its log has.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use corundum_abi::outbound::OutboundPolicy;

use super::refusal::Refusal;
use super::refusal_log::RefusalLog;

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
