//! Resolver of gems: decides which gems an app needs and where each is taken from, before any of them is installed.

use std::path::PathBuf;

use corundum_pack::Manifest;

use super::error::GemError;
use super::fetcher::{GemFetcher, GemRequest};
use super::gemfile::GemfileReport;
use super::{directory, native, package};
use crate::lockfile::{GemOrigin, LockedGem, Lockfile};
use crate::redact::without_credentials;
use crate::tree::Tree;

/// Sources of gems besides the app's own `vendor/cache`.
pub struct GemSources<'a> {
    /// Gem directories of the node.
    pub directories: &'a [PathBuf],
    /// Gem servers, with the node's cache of their gems.
    pub fetcher: &'a GemFetcher,
}

/// Returns the gems that a running app needs, each after the gems it depends on.
pub(super) fn needed_gems<'a>(
    gemfile: &GemfileReport,
    lockfile: &'a Lockfile,
) -> Result<Vec<(&'a str, &'a LockedGem)>, GemError> {
    let roots: Vec<String> = gemfile.wanted().map(|gem| gem.name.clone()).collect();
    let mut gems = Vec::new();
    for name in lockfile.in_dependency_order(roots) {
        let Some((name, locked)) = lockfile.gems.get_key_value(&name) else {
            continue;
        };
        if native::is_server(name) {
            continue;
        }
        // A lockfile does not lock Bundler itself, and gems that only servers need are not installed.
        let known = |name: &String| {
            lockfile.gems.contains_key(name) || name == "bundler" || native::is_server(name)
        };
        if let Some(lost) = locked.dependencies.iter().find(|name| !known(name)) {
            return Err(GemError::Unresolved(lost.clone()));
        }
        gems.push((name.as_str(), locked));
    }
    Ok(gems)
}

/// Source of one gem.
pub(super) enum ResolvedSource<'a> {
    /// The pack carries the gem.
    Pack,
    /// The gem is a folder of the app.
    Folder(&'a str),
    /// The app's `vendor/cache` has the gem's file.
    VendorCache,
    /// A gem directory of the node has the gem.
    Directory,
    /// A gem server has to be asked.
    Server(GemRequest<'a>),
}

impl<'a> ResolvedSource<'a> {
    /// Returns the request to a gem server, if the gem needs one.
    pub(super) fn request(&self) -> Option<GemRequest<'a>> {
        match self {
            Self::Server(request) => Some(*request),
            _ => None,
        }
    }
}

/// Resolver of one app's gems.
pub(super) struct Resolver<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) directories: &'a [PathBuf],
}

impl Resolver<'_> {
    /// Decides where each of `gems` is taken from.
    pub(super) fn resolve<'a>(
        &self,
        tree: &Tree,
        gems: &[(&'a str, &'a LockedGem)],
    ) -> Result<Vec<ResolvedSource<'a>>, GemError> {
        gems.iter()
            .map(|(name, locked)| self.resolve_gem(tree, name, locked))
            .collect()
    }

    fn resolve_gem<'a>(
        &self,
        tree: &Tree,
        name: &'a str,
        locked: &'a LockedGem,
    ) -> Result<ResolvedSource<'a>, GemError> {
        let remotes = match &locked.origin {
            GemOrigin::Path(path) => return Ok(ResolvedSource::Folder(path)),
            GemOrigin::Git(uri) => {
                let (name, uri) = (name.to_owned(), without_credentials(uri));
                return Err(GemError::Git { name, uri });
            }
            GemOrigin::Plugin(uri) => {
                let (name, uri) = (name.to_owned(), without_credentials(uri));
                return Err(GemError::Plugin { name, uri });
            }
            GemOrigin::Servers(remotes) => remotes,
        };
        let carried = self.manifest.gems.get(name);
        // The native part of such a gem fits only the Ruby of the pack, in the version that the pack carries.
        if self.manifest.extensions.iter().any(|known| known == name) {
            return Ok(ResolvedSource::Pack);
        }
        if tree.has_file(&package::vendor_cache_path(name, locked)) {
            return Ok(ResolvedSource::VendorCache);
        }
        if directory::has_gem(self.directories, name, &locked.version) {
            return Ok(ResolvedSource::Directory);
        }
        if carried == Some(&locked.version) {
            return Ok(ResolvedSource::Pack);
        }
        let server = server_source(name, locked, remotes);
        // If no server can have the gem, another version of the pack is better than none.
        if server.is_err() && carried.is_some() {
            return Ok(ResolvedSource::Pack);
        }
        server
    }
}

fn server_source<'a>(
    name: &'a str,
    locked: &'a LockedGem,
    remotes: &'a [String],
) -> Result<ResolvedSource<'a>, GemError> {
    native::reject_known(name)?;
    let (owned, version) = (name.to_owned(), locked.version.clone());
    if !locked.platforms.is_empty() {
        return Err(GemError::Precompiled {
            name: owned,
            version,
            platforms: locked.platforms.join(", "),
        });
    }
    if remotes.is_empty() {
        let name = owned;
        return Err(GemError::Missing { name, version });
    }
    Ok(ResolvedSource::Server(GemRequest {
        name,
        locked,
        remotes,
    }))
}
