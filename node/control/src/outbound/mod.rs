//! Outbound connections: the operator's default, and the targets that are granted to apps.
//!
//! The host decides about each connection (`corundum_host::outbound`); this module gives it the policy of each app and
//! changes it while the app's dynos run. [`list_changes`] describes a changed list to a pusher.

pub(crate) mod list_changes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use corundum_abi::names::AppName;
use corundum_abi::outbound::{MAX_TARGETS, OutboundPolicy, OutboundTarget, OutboundTargetError};
use corundum_host::grid::DynoGrid;
use corundum_host::outbound::{AppOutbound, OutboundRules};
use corundum_store::{Fault, HasFault, OutboundGrantRecord, ReleaseRecord, Store, StoreError};
use uuid::Uuid;

use crate::logs::Logs;

/// A grant that cannot be given or taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboundError {
    /// The text is not a target.
    #[error(transparent)]
    Target(#[from] OutboundTargetError),
    /// The app has too many grants.
    #[error(
        "an app has at most {MAX_TARGETS} grants: remove one, or grant a network such as 10.0.0.0/8"
    )]
    Many,
    /// The app does not have the grant.
    #[error("Couldn't find that grant: {0}")]
    Missing(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HasFault for OutboundError {
    fn fault(&self) -> Fault {
        match self {
            Self::Target(_) | Self::Many => Fault::Client,
            Self::Missing(_) => Fault::NotFound,
            Self::Store(error) => error.fault(),
        }
    }
}

/// Keeps the policies of apps.
pub struct OutboundPolicies {
    store: Arc<dyn Store>,
    /// The policy of an app without grants.
    base: OutboundPolicy,
    logs: Arc<Logs>,
    /// The policies that releases and dynos use. Entries of apps without either are removed when another is added.
    apps: Mutex<HashMap<AppName, Weak<AppOutbound>>>,
}

impl OutboundPolicies {
    /// Creates the type. `base` is the operator's policy for all apps.
    pub fn new(store: Arc<dyn Store>, base: OutboundPolicy, logs: Arc<Logs>) -> Self {
        Self {
            store,
            base,
            logs,
            apps: Mutex::default(),
        }
    }

    /// Returns the policy for an app that `store` knows.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn policy(&self, app: &AppName) -> Result<OutboundPolicy, StoreError> {
        policy(&*self.store, &self.base, app)
    }

    /// Returns the rules for a release of an app. They follow later changes of the app's grants.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn rules(
        &self,
        app: &AppName,
        release: &ReleaseRecord,
    ) -> Result<OutboundRules, StoreError> {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: a change that the store gets meanwhile is set after this.
        let policy = self.policy(app)?;
        let known = apps.get(app).and_then(Weak::upgrade);
        let state = match known {
            Some(known) => {
                known.set(policy);
                known
            }
            None => {
                apps.retain(|_, state| state.strong_count() > 0);
                let state = AppOutbound::new(policy);
                apps.insert(app.clone(), Arc::downgrade(&state));
                state
            }
        };
        Ok(OutboundRules::new(release.about.outbound.clone(), state))
    }

    /// Returns an app's grants, oldest first.
    ///
    /// # Errors
    ///
    /// [`OutboundError`].
    pub(crate) fn grants(&self, app: &AppName) -> Result<Vec<OutboundGrantRecord>, OutboundError> {
        Ok(self.store.outbound_grants(app)?)
    }

    /// Returns the policy of an app without grants.
    pub(crate) fn base(&self) -> &OutboundPolicy {
        &self.base
    }

    /// Grants a target to an app. Its dynos may reach it at once.
    ///
    /// # Errors
    ///
    /// [`OutboundError`].
    pub(crate) fn add(
        &self,
        app: &AppName,
        target: &str,
    ) -> Result<OutboundGrantRecord, OutboundError> {
        let target: OutboundTarget = target.parse()?;
        let grants = self.store.outbound_grants(app)?;
        if grants.len() >= MAX_TARGETS && grants.iter().all(|grant| grant.target != target) {
            return Err(OutboundError::Many);
        }
        let added = self.store.add_outbound_grant(app, &target)?;
        self.changed(app, &format!("Grant outbound connections to {target}"))?;
        Ok(added)
    }

    /// Takes a grant from an app, which is named by its key or its target. Dynos open no further connection to it, and
    /// `grid` replaces them, so that open connections end.
    ///
    /// # Errors
    ///
    /// [`OutboundError`].
    pub(crate) fn remove(
        &self,
        app: &AppName,
        grid: &DynoGrid,
        identity: &str,
    ) -> Result<OutboundGrantRecord, OutboundError> {
        let id: Option<Uuid> = identity.parse().ok();
        let target: Option<OutboundTarget> = identity.parse().ok();
        let grants = self.store.outbound_grants(app)?;
        let mut grants = grants.into_iter();
        let found =
            grants.find(|grant| Some(grant.id) == id || Some(&grant.target) == target.as_ref());
        let found = found.ok_or_else(|| {
            // Text with an @ may hold a password.
            let shown = identity.split('@').next_back().unwrap_or_default();
            OutboundError::Missing(shown.chars().take(80).collect())
        })?;
        self.store.remove_outbound_grant(app, found.id)?;
        let target = &found.target;
        self.changed(app, &format!("Revoke outbound connections to {target}"))?;
        grid.restart(app);
        Ok(found)
    }

    /// Makes the running dynos of an app follow the store.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn refresh(&self, app: &AppName) -> Result<(), StoreError> {
        let apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = self.policy(app)?;
        if let Some(state) = apps.get(app).and_then(Weak::upgrade) {
            state.set(policy);
        }
        Ok(())
    }

    fn changed(&self, app: &AppName, line: &str) -> Result<(), OutboundError> {
        self.refresh(app)?;
        self.logs.add(app, "corundum[api]", line);
        tracing::info!(%app, "outbound grants changed");
        Ok(())
    }
}

/// Returns the policy for an app of `store`: `base`, with the app's grants and those of its add-ons.
pub(crate) fn policy(
    store: &dyn Store,
    base: &OutboundPolicy,
    app: &AppName,
) -> Result<OutboundPolicy, StoreError> {
    let grants = store.outbound_grants(app)?;
    let grants = grants.into_iter().map(|grant| grant.target);
    let attachments = store.app_attachments(app)?.into_iter();
    let of_addons = attachments.flat_map(|attachment| attachment.targets);
    Ok(OutboundPolicy {
        grants: grants.chain(of_addons).collect(),
        ..base.clone()
    })
}
