//! Requests of providers about their add-ons: config vars, and the end of a creation that took longer than an answer may.

use std::collections::BTreeMap;
use std::sync::Arc;

use corundum_store::{AddonRecord, AddonState, StoreError};
use serde_json::Value;
use uuid::Uuid;

use super::{AddonError, Addons, ConfigChange, is_pending, run};
use crate::services::Service;
use crate::services::provider::{Provider, SsoForm};

/// The end of a creation, as its provider reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProviderOutcome {
    /// The add-on can be used.
    Provisioned,
    /// The provider could not create it.
    Failed,
}

impl Addons {
    /// Returns the service whose provider has the credentials.
    pub(crate) fn provider_service(&self, user: &str, password: &str) -> Option<&Arc<dyn Service>> {
        let has = |service: &&Arc<dyn Service>| {
            let provider = service.provider();
            provider.is_some_and(|provider| provider.has_credentials(user, password))
        };
        self.services.iter().find(has)
    }

    /// Finds an add-on of a service by its key. Those of other services do not exist for a provider.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoAddon`]; the store cannot be read.
    pub(crate) fn addon_of_service(
        &self,
        service: &dyn Service,
        id: Uuid,
    ) -> Result<AddonRecord, StoreError> {
        let addon = self.parts.store.addon(id)?;
        match addon.service == service.names().name {
            true => Ok(addon),
            false => Err(StoreError::NoAddon(id.to_string())),
        }
    }

    /// Returns the config vars that a provider has set for an add-on, by their names in the manifest.
    ///
    /// # Errors
    ///
    /// The service is no provider's; the record is damaged.
    pub(crate) fn provider_config(
        &self,
        addon: &AddonRecord,
    ) -> Result<BTreeMap<String, String>, AddonError> {
        Ok(self.provider(addon)?.config(addon)?)
    }

    /// Returns the form that signs a user in at the page of an add-on's provider, if it has one.
    ///
    /// # Errors
    ///
    /// The service does not exist.
    pub(crate) fn sign_in(
        &self,
        addon: &AddonRecord,
        email: &str,
    ) -> Result<Option<SsoForm>, AddonError> {
        let provider = self.service(&addon.service)?.provider();
        Ok(provider.and_then(|provider| provider.sign_in(addon, email)))
    }

    /// Sets config vars of an add-on for its provider, and releases the attached apps with them.
    ///
    /// # Errors
    ///
    /// [`AddonError`]. The provider may repeat the request.
    pub(crate) async fn set_provider_config(
        self: &Arc<Self>,
        id: Uuid,
        config: Value,
    ) -> Result<AddonRecord, AddonError> {
        let addons = self.clone();
        run(async move {
            let _maintenance = addons.parts.locks.begin_maintenance();
            let _busy = addons.begin_later(id).await?;
            let mut addon = addons.parts.store.addon(id)?;
            addon.data = addons.provider(&addon)?.with_config(&addon, &config)?;
            addons.parts.store.set_addon(&addon)?;
            if addon.state == AddonState::Provisioned {
                addons.attach_again(&addon).await?;
            }
            Ok(addon)
        })
        .await
    }

    /// Ends the creation of an add-on, as its provider reports.
    ///
    /// # Errors
    ///
    /// [`AddonError`]. The provider may repeat the request.
    pub(crate) async fn finish(
        self: &Arc<Self>,
        id: Uuid,
        outcome: ProviderOutcome,
    ) -> Result<AddonRecord, AddonError> {
        let addons = self.clone();
        run(async move {
            let _maintenance = addons.parts.locks.begin_maintenance();
            let _busy = addons.begin_later(id).await?;
            let mut addon = addons.parts.store.addon(id)?;
            let wanted = match outcome {
                ProviderOutcome::Provisioned => AddonState::Provisioned,
                ProviderOutcome::Failed => AddonState::Deprovisioning,
            };
            if addon.state == wanted {
                return Ok(addon);
            }
            let service = addons.service(&addon.service)?;
            if addon.state != AddonState::Provisioning || !is_pending(service, &addon) {
                return Err(AddonError::NotPending(addon.name, addon.state.as_str()));
            }
            if outcome == ProviderOutcome::Provisioned {
                let finished = addons.provider(&addon)?.finished(&addon)?;
                // The record says that it is pending until the apps have their config vars, so that a kill here loses nothing.
                addons.attach_again(&addon).await?;
                addon.data = finished;
            }
            addon.state = wanted;
            addons.parts.store.set_addon(&addon)?;
            addons.wake.notify_one();
            let state = wanted.as_str();
            tracing::info!(addon = addon.name, state, "a provider finished an add-on");
            Ok(addon)
        })
        .await
    }

    fn provider(&self, addon: &AddonRecord) -> Result<&Provider, AddonError> {
        let provider = self.service(&addon.service)?.provider();
        provider.ok_or_else(|| AddonError::NoService(addon.service.clone()))
    }

    /// Gives the attached apps the config vars of an add-on, unless they have them.
    async fn attach_again(&self, addon: &AddonRecord) -> Result<(), AddonError> {
        let service = self.service(&addon.service)?;
        for mut attachment in self.attachments_of(addon.id)? {
            let config = self.parts.store.config(&attachment.app)?;
            let variables = service.variables(addon)?;
            let named = variables
                .into_iter()
                .map(|(end, value)| (format!("{}_{end}", attachment.name), value));
            let mut has_all = true;
            for (name, value) in named {
                let is_own = attachment.variables.contains(&name);
                match config.get(&name) {
                    Some(own) if is_own && *own == value => {}
                    Some(_) if !is_own => return Err(AddonError::ConfigVar(name)),
                    _ => has_all = false,
                }
            }
            if !has_all {
                let by = ConfigChange::Release;
                self.attach_to(service, addon, &mut attachment, by).await?;
            }
        }
        Ok(())
    }
}
