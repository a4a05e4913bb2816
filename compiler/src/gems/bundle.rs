//! The list of installed gems, from which the guest's Bundler replacement sets up the load path.

use corundum_pack::archive::FileMode;
use serde::Serialize;

use super::error::GemError;
use super::gemfile::GemfileReport;
use crate::lockfile::LockedGem;
use crate::tree::Tree;

/// Path of the list in a slug.
pub const BUNDLE_FILE: &str = ".corundum/bundle.json";

/// Place of a gem in the guest.
pub(super) struct InstalledGem {
    pub(super) path: String,
    pub(super) require_paths: Vec<String>,
}

/// One gem of the list.
#[derive(Debug, Serialize)]
pub(super) struct BundleEntry {
    name: String,
    version: String,
    /// Path in the guest; none for a gem of the pack.
    path: Option<String>,
    require_paths: Vec<String>,
    groups: Vec<String>,
    require: Option<Vec<String>>,
}

impl BundleEntry {
    /// Describes a gem; `installed` is none if the pack carries it.
    pub(super) fn new(
        gemfile: &GemfileReport,
        name: &str,
        locked: &LockedGem,
        installed: Option<InstalledGem>,
    ) -> Self {
        let gem = gemfile.wanted().find(|gem| gem.name == name);
        let (path, require_paths) = installed.map(|gem| (gem.path, gem.require_paths)).unzip();
        Self {
            name: name.to_owned(),
            version: locked.version.clone(),
            path,
            require_paths: require_paths.unwrap_or_default(),
            groups: gem.map(|gem| gem.groups.clone()).unwrap_or_default(),
            require: gem.and_then(|gem| gem.autorequire.clone()),
        }
    }
}

/// Adds the list to the tree. An app without gems gets none.
pub(super) fn write(tree: &mut Tree, entries: &[BundleEntry]) -> Result<(), GemError> {
    if entries.is_empty() {
        return Ok(());
    }
    let bundle = serde_json::json!({ "gems": entries });
    let text = serde_json::to_vec(&bundle).map_err(std::io::Error::from)?;
    tree.add(BUNDLE_FILE, &text, FileMode::Plain)?;
    Ok(())
}
