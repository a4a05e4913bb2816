//! New releases of existing slugs: changed config vars and rollbacks.

use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::{AppName, ReleaseVersion};
use corundum_build::BuildSource;
use corundum_build::slots::BuildUrgency;
use corundum_store::{ConfigVars, ReleaseRecord, Store};
use tokio::time::timeout;

use super::error::ReleaseError;
use super::{NewRelease, Releases};
use crate::apps::config_vars::{self, ConfigVarChanges, ConfigVarError};
use crate::apps::locks::AppLocks;
use crate::builds::Builder;
use crate::data_dir::DataDir;

/// The time that an add-on waits for a build of its app.
const ADDON_WAIT: Duration = Duration::from_secs(300);

/// Changes config vars and rolls apps back.
pub struct ReleaseChanges {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    locks: Arc<AppLocks>,
    builder: Arc<Builder>,
    releases: Arc<Releases>,
}

impl ReleaseChanges {
    /// Creates the type that releases again what `builder` boots.
    pub fn new(
        store: Arc<dyn Store>,
        data: Arc<DataDir>,
        locks: Arc<AppLocks>,
        builder: Arc<Builder>,
        releases: Arc<Releases>,
    ) -> Self {
        Self {
            store,
            data,
            locks,
            builder,
            releases,
        }
    }

    /// Changes an app's config vars. Returns them, and the release that has them if the app has any release.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`]; nothing is changed then.
    pub(crate) async fn set_config(
        &self,
        app: &AppName,
        changes: ConfigVarChanges,
    ) -> Result<(ConfigVars, Option<ReleaseVersion>), ReleaseError> {
        // Locked before the config vars are read: a concurrent change must not be lost.
        let _building = self.locks.begin_build(app).ok_or(ReleaseError::Busy)?;
        let mut config = self.store.config(app)?;
        for attachment in self.store.app_attachments(app)? {
            let mut variables = attachment.variables.into_iter();
            if let Some(name) = variables.find(|name| changes.contains_key(name)) {
                return Err(ConfigVarError::Attached(name).into());
            }
        }
        let description = config_vars::change(&mut config, changes)?;
        let Some(current) = self.store.current_release(app)? else {
            self.store.set_config(app, &config)?;
            return Ok((config, None));
        };
        let release = self
            .release_again(app, &current, &config, description)
            .await?;
        Ok((config, Some(release.version)))
    }

    /// Changes the config vars of an attachment, by a release with this description if the app has any release.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`]; nothing is changed then.
    pub(crate) async fn set_addon_config(
        &self,
        app: &AppName,
        changes: ConfigVarChanges,
        description: String,
    ) -> Result<(), ReleaseError> {
        let waiting = timeout(ADDON_WAIT, self.locks.wait_for_build(app)).await;
        let _building = waiting.map_err(|_| ReleaseError::Busy)?;
        let mut config = self.store.config(app)?;
        config_vars::change(&mut config, changes)?;
        match self.store.current_release(app)? {
            Some(current) => self
                .release_again(app, &current, &config, description)
                .await
                .map(drop),
            None => Ok(self.store.set_config(app, &config)?),
        }
    }

    /// Changes config vars without a release. The caller holds the app's lock.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`]; nothing is changed then.
    pub(crate) fn store_config(
        &self,
        app: &AppName,
        changes: ConfigVarChanges,
    ) -> Result<(), ReleaseError> {
        let mut config = self.store.config(app)?;
        config_vars::change(&mut config, changes)?;
        Ok(self.store.set_config(app, &config)?)
    }

    /// Releases the slug and config vars of an earlier release again. Without a version, that is the release before the
    /// current one.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::NoTarget`] if there is no such release; [`ReleaseError`].
    pub(crate) async fn roll_back(
        &self,
        app: &AppName,
        to: Option<ReleaseVersion>,
    ) -> Result<ReleaseRecord, ReleaseError> {
        // Locked before the target is read: retention must not remove it meanwhile.
        let _building = self.locks.begin_build(app).ok_or(ReleaseError::Busy)?;
        let releases = self.store.releases(app)?;
        let target = match to {
            Some(version) => releases.iter().find(|release| release.version == version),
            None => releases.get(1),
        };
        let target = target.ok_or(ReleaseError::NoTarget)?;
        let mut config = self.store.release_config(app, target.version)?;
        // The credentials of that time may be invalid by now.
        let current = self.store.config(app)?;
        for name in self
            .store
            .app_attachments(app)?
            .into_iter()
            .flat_map(|one| one.variables)
        {
            if let Some(value) = current.get(&name) {
                config.insert(name, value.clone());
            }
        }
        let description = format!("Rollback to {}", target.version);
        self.release_again(app, target, &config, description).await
    }

    /// Boots the slug of a release with `config` and releases the result.
    async fn release_again(
        &self,
        app: &AppName,
        of: &ReleaseRecord,
        config: &ConfigVars,
        description: String,
    ) -> Result<ReleaseRecord, ReleaseError> {
        let mut output = Vec::new();
        let source = BuildSource::Slug(self.data.slug(&of.slug));
        let report = |line: &str| output.push(line.to_owned());
        let input = self.builder.input(&*self.store, app, config)?;
        let built = async {
            let slot = self
                .builder
                .slot(app, BuildUrgency::Awaited, |_| {})
                .await?;
            let series = &of.about.runtime;
            self.builder
                .build(&slot, app, series, source, input, report)
                .await
        };
        let build = built.await.map_err(|source| ReleaseError::Build {
            output: output.join("\n"),
            source,
        })?;
        let new = NewRelease {
            build,
            slug: of.slug.clone(),
            commit: &of.commit,
            description,
            config,
            // The log has the output of the release phase.
            report: &|_| {},
        };
        self.releases.add(app, new).await
    }
}
