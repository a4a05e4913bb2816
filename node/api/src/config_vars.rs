//! Config vars: an object of names and values.

use std::collections::BTreeMap;

/// The config vars of an app or a release.
pub type ConfigVarsResource = BTreeMap<String, String>;

/// Changes of config vars: a value sets a variable, `null` unsets it.
pub type ConfigVarsUpdate = BTreeMap<String, Option<String>>;
