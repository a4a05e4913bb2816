//! Settings of how the router treats an app's requests. The API's own: v3 has no such resource.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A setting with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingResource {
    /// The setting's name: `https-redirect`.
    pub name: String,
    /// The value in force.
    pub value: String,
    /// True if the app's owner set the value; otherwise it is the default.
    pub set: bool,
    /// The effect of the setting, for listings.
    pub about: String,
}

/// Changes of settings: a value sets, `null` restores the default.
pub type SettingsUpdate = BTreeMap<String, Option<String>>;
