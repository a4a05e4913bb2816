//! Specifications of installed gems, as RubyGems keeps them: `specifications/NAME-VERSION.gemspec`.

use std::collections::BTreeMap;

use corundum_pack::archive::FileMode;

use super::error::GemError;
use crate::lockfile::LockedGem;
use crate::tree::Tree;

/// Directory of the pack with a link for each of its gems.
const PACK_GEMS: &str = "/usr/lib/corundum/gems";
/// Directory of the pack with the stand-ins.
const STAND_INS: &str = "/usr/lib/corundum/stand_ins";

/// Specification of a gem as it was found.
#[derive(Debug)]
pub(super) enum GemSpecification {
    /// Metadata of a `.gem` file: YAML.
    Metadata(String),
    /// Ruby code, as in a gem directory.
    Ruby(String),
}

/// The directory in an app's tree that RubyGems calls the gem home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GemHome(String);

/// Metadata of installed gems, by the names of their specifications. The sandbox makes specifications of them.
pub type GemMetadataFiles = BTreeMap<String, String>;

impl GemHome {
    /// Returns the gem home for a series of Ruby, at the place that `bundle install --deployment` uses.
    pub(super) fn of_series(series: &str) -> Self {
        Self(format!("vendor/bundle/ruby/{series}.0"))
    }

    /// Returns the directory of a gem.
    pub(super) fn gem(&self, full_name: &str) -> String {
        format!("{}/gems/{full_name}", self.0)
    }

    /// Returns the directory of a git repository.
    pub(super) fn repository(&self, name: &str) -> String {
        format!("{}/bundler/gems/{name}", self.0)
    }

    /// Returns the path of a gem's specification.
    pub(super) fn specification(&self, full_name: &str) -> String {
        format!("{}/specifications/{full_name}.gemspec", self.0)
    }

    /// Writes a specification.
    pub(super) fn add_specification(
        &self,
        tree: &mut Tree,
        full_name: &str,
        text: &str,
    ) -> Result<(), GemError> {
        let path = self.specification(full_name);
        tree.add(&path, text.as_bytes(), FileMode::Plain)?;
        Ok(())
    }

    /// Adds a gem whose files the pack has: the locked version, with a link to them.
    pub(super) fn add_pack_gem(
        &self,
        tree: &mut Tree,
        name: &str,
        locked: &LockedGem,
        files: PackFiles,
    ) -> Result<(), GemError> {
        let full_name = format!("{name}-{}", locked.version);
        let target = match files {
            PackFiles::Gem => {
                self.link_pack_gem(tree, name, &locked.version)?;
                return self.add_specification(tree, &full_name, &specification(name, locked));
            }
            PackFiles::StandIn => format!("{STAND_INS}/{name}"),
            PackFiles::None => format!("{STAND_INS}/unused"),
        };
        tree.add_symlink(&self.gem(&full_name), &target)?;
        self.add_specification(tree, &full_name, &specification(name, locked))
    }

    /// Links a gem's directory to its files in the pack.
    pub(super) fn link_pack_gem(
        &self,
        tree: &mut Tree,
        name: &str,
        version: &str,
    ) -> Result<(), GemError> {
        let target = format!("{PACK_GEMS}/{name}");
        tree.add_symlink(&self.gem(&format!("{name}-{version}")), &target)?;
        Ok(())
    }
}

/// Files of the pack for a gem.
#[derive(Debug, Clone, Copy)]
pub(super) enum PackFiles {
    /// The pack carries the gem.
    Gem,
    /// The pack has a stand-in.
    StandIn,
    /// No file.
    None,
}

/// Makes a specification of what the lockfile says. Its names and versions need no quoting.
fn specification(name: &str, locked: &LockedGem) -> String {
    let version = &locked.version;
    let dependencies = locked.dependencies.iter();
    let dependencies: String = dependencies
        .map(|name| format!("  s.add_runtime_dependency(\"{name}\".freeze)\n"))
        .collect();
    format!(
        "# -*- encoding: utf-8 -*-
# stub: {name} {version} ruby lib

Gem::Specification.new do |s|
  s.name = \"{name}\".freeze
  s.version = \"{version}\".freeze
  s.require_paths = [\"lib\".freeze]
  s.authors = [\"Corundum\".freeze]
  s.summary = \"Files of the Ruby pack\".freeze
{dependencies}end
"
    )
}

/// Writes the specifications that the sandbox has made of the metadata that [`super::install`] returned.
///
/// # Errors
///
/// [`GemError::Specification`], [`GemError::Tree`].
pub fn add_specifications(
    tree: &mut Tree,
    series: &str,
    metadata: &GemMetadataFiles,
    made: &BTreeMap<String, SpecificationResult>,
) -> Result<(), GemError> {
    let home = GemHome::of_series(series);
    for full_name in metadata.keys() {
        let failed = |reason: &str| GemError::Specification {
            name: full_name.clone(),
            reason: reason.to_owned(),
        };
        let result = made.get(full_name).ok_or_else(|| failed("none was made"))?;
        match result {
            SpecificationResult::Text(text) => home.add_specification(tree, full_name, text)?,
            SpecificationResult::Failed { error } => return Err(failed(error)),
        }
    }
    Ok(())
}

/// Result of the sandbox for one gem.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
pub enum SpecificationResult {
    /// Ruby code.
    Text(String),
    /// The metadata are invalid.
    Failed {
        /// Message of the exception.
        error: String,
    },
}
