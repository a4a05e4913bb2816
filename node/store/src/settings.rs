//! Settings of apps as names and texts. The control plane knows which settings exist and what their values mean.

use std::collections::BTreeMap;

use corundum_abi::names::AppName;

use crate::error::StoreError;

/// The settings that were set, by name. A setting that is absent has its default.
pub type SettingValues = BTreeMap<String, String>;

/// Reads and writes settings.
pub trait SettingStore {
    /// Returns the settings of an app that were set.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn settings(&self, app: &AppName) -> Result<SettingValues, StoreError>;

    /// Sets some settings of an app, and unsets those without a value, in one transaction.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn change_settings(
        &self,
        app: &AppName,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), StoreError>;
}
