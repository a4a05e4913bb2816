//! Gems that only the builds of extensions need.
//!
//! The source of a gem may need another gem to be built, such as `mini_portile2`, which a lockfile with precompiled builds alone
//! does not name. Bundler would resolve it; here the newest version that fits is taken from the places of locked gems.

use std::path::PathBuf;

use super::directory;
use super::error::GemError;
use super::fetcher::{GemFetcher, GemRequest};
use super::metadata::GemDependency;
use super::package::{self, UnpackedGem};
use super::specification::GemHome;
use crate::lockfile::{GemOrigin, LockedGem};
use crate::requirement::{GemVersion, Requirement};
use crate::tree::Tree;

/// Names and versions of gems that are in an app's tree while extensions are built.
#[derive(Debug, Default)]
pub struct BuildOnlyGems(Vec<(String, GemHome)>);

impl BuildOnlyGems {
    pub(super) fn add(&mut self, home: &GemHome, full_name: String) {
        self.0.push((full_name, home.clone()));
    }

    pub(super) fn has(&self, home: &GemHome, name: &str) -> bool {
        let is_same = |full_name: &str| {
            full_name
                .rsplit_once('-')
                .is_some_and(|(own, _)| own == name)
        };
        self.0
            .iter()
            .any(|(full_name, own)| own == home && is_same(full_name))
    }

    /// Removes the gems from the tree.
    pub(crate) fn remove(&self, tree: &mut Tree) {
        for (full_name, home) in &self.0 {
            let files = format!("{}/", home.gem(full_name));
            let specification = home.specification(full_name);
            tree.remove_if(|path| path.starts_with(&files) || path == specification);
        }
    }
}

/// Finds the newest version of a gem that an extension of `of` needs. Returns `None` if no source has or delivers one.
pub(super) fn find(
    dependency: &GemDependency,
    of: &LockedGem,
    tree: &Tree,
    directories: &[PathBuf],
    fetcher: &GemFetcher,
) -> Result<Option<(String, UnpackedGem)>, GemError> {
    let name = &dependency.name;
    let Ok(requirement) = Requirement::parse(&dependency.requirement) else {
        return Ok(None);
    };
    let newest = |versions: Vec<String>| {
        let parsed = versions.into_iter().filter_map(|text| {
            let version: GemVersion = text.parse().ok()?;
            requirement
                .is_satisfied_by(&version)
                .then_some((version, text))
        });
        let newest = parsed.max_by(|(a, _), (b, _)| a.cmp(b));
        newest.map(|(_, text)| text)
    };
    let prefix = format!("vendor/cache/{name}-");
    let vendored = tree.entries().filter_map(|(path, _)| {
        let version = path.strip_prefix(&prefix)?.strip_suffix(".gem")?;
        Some(version.to_owned())
    });
    if let Some(version) = newest(vendored.collect()) {
        let locked = locked(of, &version);
        let gem = package::from_vendor_cache(tree, name, &locked)?;
        return Ok(gem.map(|gem| (version, gem)));
    }
    if let Some(version) = newest(directory::versions(directories, name)) {
        let gem = directory::find(directories, name, &version)?;
        return Ok(gem.map(|gem| (version, gem)));
    }
    let GemOrigin::Servers(remotes) = &of.origin else {
        return Ok(None);
    };
    let any = locked(of, "");
    let request = GemRequest {
        name,
        locked: &any,
        remotes,
    };
    let fetched = fetcher.newest(request, &requirement).and_then(|version| {
        let Some(version) = version else {
            return Ok(None);
        };
        let locked = locked(of, &version);
        let request = GemRequest {
            name,
            locked: &locked,
            remotes,
        };
        let gem = fetcher.fetch(request)?;
        Ok(Some((version, locked, gem)))
    });
    match fetched {
        Ok(Some((version, locked, gem))) => {
            let gem = package::unpack(&gem.bytes, name, &locked, &gem.source);
            Ok(gem.ok().map(|gem| (version, gem)))
        }
        Ok(None) => Ok(None),
        // The build may do without the gem; if not, its failure says what is missing.
        Err(error) => {
            tracing::info!(gem = name, %error, "gem for builds not fetched");
            Ok(None)
        }
    }
}

/// Returns a version of the gem as if it were locked beside `of`.
fn locked(of: &LockedGem, version: &str) -> LockedGem {
    LockedGem {
        version: version.to_owned(),
        platforms: Vec::new(),
        dependencies: Vec::new(),
        origin: of.origin.clone(),
        checksum: None,
    }
}
