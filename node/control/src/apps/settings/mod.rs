//! Settings: an app owner's choices of how the router treats its requests.
//!
//! [`catalog`] defines the settings. A change takes effect at once, without a release.

pub(crate) mod catalog;

use std::collections::BTreeMap;
use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_store::{Fault, HasFault, SettingValues, Store, StoreError};

use self::catalog::{ALL, HttpsListener, Setting};
use crate::acme::wake::AcmeWake;
use crate::logs::Logs;
use crate::routing::view::RouterView;
use crate::volumes::{VolumeError, Volumes};

/// New values by name. `None` unsets a setting.
pub(crate) type SettingChanges = BTreeMap<String, Option<String>>;

/// A setting that cannot be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingError {
    /// The setting does not exist.
    #[error("unknown setting \"{0}\": see corundum settings")]
    Unknown(String),
    /// The value is invalid.
    #[error("{0} cannot be \"{1}\": {2}")]
    Value(&'static str, String, String),
    /// The change is empty.
    #[error("no settings were given: write NAME=VALUE")]
    Nothing,
    /// The app's volume cannot be made as asked for.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HasFault for SettingError {
    fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::Volume(error) => error.fault(),
            Self::Unknown(_) | Self::Value(..) | Self::Nothing => Fault::Client,
        }
    }
}

/// A setting with its value, for listings.
pub(crate) struct SettingListing {
    pub(crate) setting: &'static Setting,
    /// `None` if the setting has its default.
    pub(crate) value: Option<String>,
}

/// Changes and lists apps' settings.
pub struct SettingsManager {
    store: Arc<dyn Store>,
    view: Arc<RouterView>,
    logs: Arc<Logs>,
    acme: Arc<AcmeWake>,
    https: HttpsListener,
    volumes: Arc<Volumes>,
}

impl SettingsManager {
    /// Creates the type that keeps settings in `store` and applies them through `view`. `https` is the port of HTTPS, if
    /// the node serves it.
    pub fn new(
        store: Arc<dyn Store>,
        view: Arc<RouterView>,
        logs: Arc<Logs>,
        acme: Arc<AcmeWake>,
        https: Option<u16>,
        volumes: Arc<Volumes>,
    ) -> Self {
        let https = match https {
            Some(_) => HttpsListener::Present,
            None => HttpsListener::Absent,
        };
        Self {
            store,
            view,
            logs,
            acme,
            https,
            volumes,
        }
    }

    /// Changes an app's settings: all of them or none.
    ///
    /// # Errors
    ///
    /// [`SettingError`].
    pub(crate) fn change(
        &self,
        app: &AppName,
        changes: SettingChanges,
    ) -> Result<(), SettingError> {
        if changes.is_empty() {
            return Err(SettingError::Nothing);
        }
        let mut validated = SettingChanges::new();
        for (name, value) in changes {
            let (setting, value) = self.validate(&name, value)?;
            validated.insert(setting.name.to_owned(), value);
        }
        let volume = validated.contains_key(catalog::VOLUME.name);
        if volume {
            let wanted = validated.iter();
            let wanted = wanted.filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
            if let Some(bytes) = catalog::volume_bytes(&wanted.collect()) {
                self.volumes.check_room(app, bytes)?;
            }
        }
        self.store.change_settings(app, &validated)?;
        self.view.refresh(app);
        self.acme.wake();
        if volume {
            self.volumes.refresh(app)?;
        }
        for (name, value) in &validated {
            let line = match value {
                Some(value) => format!("Set {name} to {value}"),
                None => format!("Unset {name}"),
            };
            self.logs.add(app, "corundum[api]", &line);
        }
        Ok(())
    }

    /// Turns one of an app's settings on or off.
    ///
    /// # Errors
    ///
    /// [`SettingError`].
    pub(crate) fn switch(
        &self,
        app: &AppName,
        setting: &Setting,
        on: bool,
    ) -> Result<(), SettingError> {
        let value = if on { "on" } else { "off" };
        self.change(
            app,
            [(setting.name.to_owned(), Some(value.to_owned()))].into(),
        )
    }

    /// Returns all settings with an app's values.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn list(&self, app: &AppName) -> Result<Vec<SettingListing>, SettingError> {
        let mut values: SettingValues = self.store.settings(app)?;
        let listed = ALL.iter().map(|setting| SettingListing {
            setting,
            value: values.remove(setting.name),
        });
        Ok(listed.collect())
    }

    fn validate(
        &self,
        name: &str,
        value: Option<String>,
    ) -> Result<(&'static Setting, Option<String>), SettingError> {
        let excerpt = |text: &str| text.chars().take(80).collect::<String>();
        let setting = ALL.iter().find(|setting| setting.name == name);
        let setting = setting.ok_or_else(|| SettingError::Unknown(excerpt(name)))?;
        let value = value.map(|value| {
            (setting.validate)(value.trim(), self.https)
                .map_err(|instead| SettingError::Value(setting.name, excerpt(&value), instead))
        });
        Ok((setting, value.transpose()?))
    }
}
