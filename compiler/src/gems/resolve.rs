//! Resolver of gems: decides which gems an app needs and where each is taken from, before any of them is installed.

use std::collections::HashSet;
use std::path::PathBuf;

use corundum_pack::Manifest;

use super::error::GemError;
use super::fetcher::{GemFetcher, GemRequest};
use super::gemfile::GemfileReport;
use super::repository::RepositoryFetcher;
use super::stand_ins::has_stand_in;
use super::{directory, native, package};
use crate::lockfile::{GemOrigin, LockedGem, LockedRepository, Lockfile};
use crate::redact::without_credentials;
use crate::tree::Tree;

/// Sources of gems besides the app's own `vendor/cache`.
pub struct GemSources<'a> {
    /// Gem directories of the node.
    pub directories: &'a [PathBuf],
    /// Gem servers, with the node's cache of their gems.
    pub fetcher: &'a GemFetcher,
    /// Git repositories.
    pub repositories: &'a RepositoryFetcher,
}

/// Returns the gems that a running app needs, each after the gems it depends on, and then the gems that only stand-ins
/// would need.
pub(super) fn needed_gems<'a>(
    gemfile: &GemfileReport,
    lockfile: &'a Lockfile,
) -> Result<Vec<NeededGem<'a>>, GemError> {
    let roots = || gemfile.wanted().map(|gem| gem.name.clone());
    let used = lockfile.in_dependency_order(roots(), has_stand_in);
    let known: HashSet<&String> = used.iter().collect();
    let all = lockfile.in_dependency_order(roots(), |_| false);
    let unused = all.iter().filter(|name| !known.contains(name));
    let mut gems = Vec::new();
    for (name, is_used) in used
        .iter()
        .map(|name| (name, true))
        .chain(unused.map(|name| (name, false)))
    {
        let Some((name, locked)) = lockfile.gems.get_key_value(name) else {
            continue;
        };
        // A lockfile does not lock Bundler itself.
        let known = |name: &String| lockfile.gems.contains_key(name) || name == "bundler";
        if let Some(lost) = locked.dependencies.iter().find(|name| !known(name)) {
            return Err(GemError::Unresolved(lost.clone()));
        }
        gems.push(NeededGem {
            name,
            locked,
            is_used,
        });
    }
    Ok(gems)
}

/// A gem of the lockfile that the app's bundle has to contain.
#[derive(Debug, Clone, Copy)]
pub(super) struct NeededGem<'a> {
    pub(super) name: &'a str,
    pub(super) locked: &'a LockedGem,
    /// True if the app loads the gem; only stand-ins would load the others.
    pub(super) is_used: bool,
}

/// Source of one gem.
pub(super) enum ResolvedSource<'a> {
    /// The pack carries the gem.
    Pack,
    /// The pack has a stand-in for the gem.
    StandIn,
    /// Only a stand-in would load the gem.
    Unused,
    /// The gem is in a git repository.
    Repository(&'a LockedRepository),
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
    /// Decides where a gem is taken from.
    pub(super) fn resolve<'a>(
        &self,
        tree: &Tree,
        gem: NeededGem<'a>,
    ) -> Result<ResolvedSource<'a>, GemError> {
        let NeededGem {
            name,
            locked,
            is_used,
        } = gem;
        if !is_used {
            return Ok(ResolvedSource::Unused);
        }
        if has_stand_in(name) {
            return Ok(ResolvedSource::StandIn);
        }
        let remotes = match &locked.origin {
            GemOrigin::Path(path) => return Ok(ResolvedSource::Folder(path)),
            GemOrigin::Git(repository) => return Ok(ResolvedSource::Repository(repository)),
            GemOrigin::Plugin(uri) => {
                let (name, uri) = (name.to_owned(), without_credentials(uri));
                return Err(GemError::Plugin { name, uri });
            }
            GemOrigin::Servers(remotes) => remotes,
        };
        let carried = self.manifest.gems.get(name);
        let linked = self.manifest.links(name);
        // The native part of such a gem is linked into the pack's Ruby. Another version has to be compiled.
        if linked && (carried == Some(&locked.version) || !self.replaces(name)) {
            return Ok(ResolvedSource::Pack);
        }
        if tree.has_file(&package::vendor_cache_path(name, locked)) {
            return Ok(ResolvedSource::VendorCache);
        }
        let has_gem = match linked {
            true => directory::has_extension,
            false => directory::has_gem,
        };
        if has_gem(self.directories, name, &locked.version) {
            return Ok(ResolvedSource::Directory);
        }
        if carried == Some(&locked.version) {
            return Ok(ResolvedSource::Pack);
        }
        let server = self.server_source(name, locked, remotes);
        // If no server can have the gem, another version of the pack is better than none.
        if server.is_err() && carried.is_some() {
            return Ok(ResolvedSource::Pack);
        }
        server
    }

    /// Returns whether a build can compile another version of a gem that the pack has.
    fn replaces(&self, name: &str) -> bool {
        self.manifest.symbols.is_some() && native::kept(name).is_none()
    }

    fn server_source<'a>(
        &self,
        name: &'a str,
        locked: &'a LockedGem,
        remotes: &'a [String],
    ) -> Result<ResolvedSource<'a>, GemError> {
        match self.manifest.symbols {
            Some(_) => native::reject_impossible(name)?,
            None => native::reject_known(name)?,
        }
        if remotes.is_empty() {
            let (name, version) = (name.to_owned(), locked.version.clone());
            let how = locked.fetch_command();
            return Err(GemError::Missing { name, version, how });
        }
        Ok(ResolvedSource::Server(GemRequest {
            name,
            locked,
            remotes,
        }))
    }
}
