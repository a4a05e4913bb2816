//! Background work on add-ons: settling after a crash, removals, quotas.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use corundum_store::{AddonAttachmentRecord, AddonRecord, AddonState, StoreError};
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;
use uuid::Uuid;

use super::{AddonError, Addons, ConfigChange, is_pending, within};
use crate::releases::error::ReleaseError;
use crate::services::backups;

/// The time between two rounds, and between two attempts to remove add-ons whose server is down.
const RETRY: Duration = Duration::from_secs(10);

/// The number of rounds between two checks of quotas and replaced credentials: a minute.
const RETRIES_PER_CHECK: u32 = 6;

/// Failed attempts after which an add-on waits longer: a server that hangs must not delay the others' work each time.
const QUICK_ATTEMPTS: u32 = 6;

/// The time between two attempts after that.
const SLOW_RETRY: Duration = Duration::from_secs(60);

/// The time in which a provider finishes an add-on that it creates behind its answer, as on Heroku.
const PENDING: SignedDuration = SignedDuration::from_hours(12);

/// A failure of the background work on an add-on.
pub(super) struct BackgroundFailure {
    /// The text, so that a failure is logged once.
    text: String,
    /// Failed attempts in a row.
    attempts: u32,
    /// The time before which no attempt is made.
    next: Instant,
}

impl Addons {
    /// Settles what an earlier process has left, starts the processes of add-ons, and goes on with removals and quotas.
    pub async fn run(self: Arc<Self>) {
        self.settle_interrupted();
        tokio::spawn({
            let addons = self.clone();
            async move {
                addons.parts.data.handed_over().await;
                let processes = addons.processes.clone();
                drop(tokio::task::spawn_blocking(move || processes.stop_all()).await);
            }
        });
        for round in 0_u32.. {
            if let Err(error) = self.step(round % RETRIES_PER_CHECK == 0).await {
                tracing::error!(%error, "could not read the add-ons");
            }
            drop(timeout(RETRY, self.wake.notified()).await);
        }
    }

    fn settle_interrupted(&self) {
        let (addons, damaged) = match self.parts.store.readable_addons() {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "could not read the add-ons");
                return;
            }
        };
        for record in damaged {
            tracing::error!(
                record,
                "the record of an add-on is damaged; it is left alone: restore a backup (corundum restore)"
            );
        }
        for addon in addons {
            // An operation of this process settles its add-on itself.
            let Ok(_busy) = self.begin(&addon) else {
                continue;
            };
            let settled = match self.parts.store.addon(addon.id) {
                Err(StoreError::NoAddon(_)) => continue,
                read => read.and_then(|addon| self.settle(&addon, &self.attachments_of(addon.id)?)),
            };
            // The others start all the same.
            if let Err(error) = settled {
                tracing::error!(addon = addon.name, %error, "could not settle an add-on");
            }
        }
    }

    /// Brings an add-on and its attachments to a state between operations.
    fn settle(
        &self,
        addon: &AddonRecord,
        attachments: &[AddonAttachmentRecord],
    ) -> Result<(), StoreError> {
        let mut complete = 0;
        for attachment in attachments {
            let config = self.parts.store.config(&attachment.app)?;
            let mut variables = attachment.variables.iter();
            if !attachment.variables.is_empty() && variables.all(|name| config.contains_key(name)) {
                complete += 1;
            } else if addon.state == AddonState::Provisioned {
                self.forget_attachment(attachment)?;
            }
        }
        let is_unfinished = match self.service(&addon.service) {
            Ok(service) => is_pending(service, addon),
            // The operator has taken the service from the configuration, perhaps by mistake.
            Err(_) => true,
        };
        let state = match (addon.state, complete) {
            (AddonState::Provisioning, 0) if is_unfinished => AddonState::Provisioning,
            (AddonState::Provisioning, 0) => AddonState::Deprovisioning,
            (AddonState::Provisioning, _) => AddonState::Provisioned,
            (state, _) => state,
        };
        if state != addon.state {
            tracing::info!(
                addon = addon.name,
                state = state.as_str(),
                "interrupted add-on settled"
            );
            let settled = AddonRecord {
                state,
                ..addon.clone()
            };
            self.parts.store.set_addon(&settled)?;
        }
        if state == AddonState::Provisioned {
            let resumed = self
                .service(&addon.service)
                .and_then(|service| Ok(service.resume(addon)?));
            if let Err(error) = resumed {
                tracing::error!(addon = addon.name, %error, "could not start an add-on");
            }
        }
        Ok(())
    }

    /// Goes on with removals, and checks the others if `check` says so.
    async fn step(&self, check: bool) -> Result<(), StoreError> {
        for addon in self.parts.store.readable_addons()?.0 {
            if self.waits(&addon) {
                continue;
            }
            let Ok(_busy) = self.begin(&addon) else {
                continue;
            };
            if self.parts.data.is_handed_over() {
                return Ok(());
            }
            let result = match addon.state {
                AddonState::Deprovisioning => self.release_and_remove(&addon).await,
                AddonState::Provisioned if check => self.check(addon.id).await,
                AddonState::Provisioning if check => self.expire(&addon),
                AddonState::Provisioned | AddonState::Provisioning => continue,
            };
            self.note(&addon, result);
        }
        Ok(())
    }

    /// Returns whether the work on an add-on has failed so often that it waits.
    fn waits(&self, addon: &AddonRecord) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = failures.get(&addon.id);
        failure.is_some_and(|failure| failure.next > Instant::now())
    }

    /// Has an add-on removed that its provider does not finish.
    fn expire(&self, addon: &AddonRecord) -> Result<(), AddonError> {
        let service = self.service(&addon.service)?;
        let created: Option<Timestamp> = addon.created_at.parse().ok();
        let is_late = |at: Timestamp| Timestamp::now().duration_since(at) > PENDING;
        if !is_pending(service, addon) || !created.is_some_and(is_late) {
            return Ok(());
        }
        let expired = AddonRecord {
            state: AddonState::Deprovisioning,
            ..addon.clone()
        };
        self.parts.store.set_addon(&expired)?;
        tracing::warn!(
            addon = addon.name,
            "a provider did not finish an add-on in 12 hours"
        );
        Ok(())
    }

    /// Logs a failure of background work when it begins, and delays the next attempt when it goes on.
    fn note(&self, addon: &AddonRecord, result: Result<(), AddonError>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => drop(failures.remove(&addon.id)),
            Err(error) => {
                let text = error.to_string();
                let before = failures.remove(&addon.id);
                let attempts = before.as_ref().map_or(0, |before| before.attempts) + 1;
                let pause = if attempts < QUICK_ATTEMPTS {
                    Duration::ZERO
                } else {
                    SLOW_RETRY
                };
                let failure = BackgroundFailure {
                    text: text.clone(),
                    attempts,
                    next: Instant::now() + pause,
                };
                failures.insert(addon.id, failure);
                if before.is_none_or(|before| before.text != text) {
                    let (addon, state) = (&addon.name, addon.state.as_str());
                    tracing::warn!(
                        addon,
                        state,
                        error = text,
                        "work on an add-on failed; it is tried again"
                    );
                }
            }
        }
    }

    async fn check(&self, id: Uuid) -> Result<(), AddonError> {
        let mut addon = self.parts.store.addon(id)?;
        let service = self.service(&addon.service)?;
        let mut values = Vec::new();
        for attachment in self.attachments_of(id)? {
            values.extend(self.parts.store.config(&attachment.app)?.into_values());
        }
        if let Some(data) = within(&addon.name, service.maintain(&addon, &values)).await? {
            addon.data = data;
            self.parts.store.set_addon(&addon)?;
        }
        Ok(())
    }

    /// Takes an add-on whose app is gone from the other apps, and removes it.
    async fn release_and_remove(&self, addon: &AddonRecord) -> Result<(), AddonError> {
        for attachment in self.attachments_of(addon.id)? {
            if let Err(error) = self.detach_from(addon, &attachment).await {
                if matches!(error, AddonError::Release(ReleaseError::Busy)) {
                    return Err(error);
                }
                let app = &attachment.app;
                tracing::warn!(%app, %error, "could not release an app without its add-on");
                let _building = self
                    .parts
                    .locks
                    .begin_build(app)
                    .ok_or(ReleaseError::Busy)?;
                self.change_config(&attachment, Vec::new(), ConfigChange::Stored)
                    .await?;
                self.forget_attachment(&attachment)?;
            }
        }
        self.remove(addon).await
    }

    /// Removes an add-on without attachments at its service, and its record.
    pub(super) async fn remove(&self, addon: &AddonRecord) -> Result<(), AddonError> {
        let service = self.service(&addon.service)?;
        within(&addon.name, service.deprovision(addon)).await?;
        let backups = backups::folder(self.parts.data.path(), addon.id);
        match tokio::fs::remove_dir_all(backups).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(AddonError::Backups(error));
            }
            _ => {}
        }
        for attachment in self.attachments_of(addon.id)? {
            self.forget_attachment(&attachment)?;
        }
        self.parts.store.remove_addon(addon.id)?;
        tracing::info!(addon = addon.name, "add-on removed");
        Ok(())
    }
}
