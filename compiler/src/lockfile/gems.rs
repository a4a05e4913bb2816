//! Gems of a lockfile and their dependencies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::checksum::Checksum;

/// Origin of a gem, by the section that lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GemOrigin {
    /// URLs of gem servers, which the gems of a section share. Old Gemfiles may name several global sources; others name
    /// one.
    Servers(Arc<[String]>),
    /// A git repository, which its gems share.
    Git(Arc<LockedRepository>),
    /// Folder of the app.
    Path(String),
    /// URI that a Bundler plugin understands.
    Plugin(String),
}

/// A git repository of the lockfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockedRepository {
    /// URI of the repository.
    pub remote: String,
    /// Digest of the commit.
    pub revision: String,
    /// True if the gems need the repository's submodules.
    pub submodules: bool,
}

/// A gem of the lockfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedGem {
    /// Version, without a platform.
    pub version: String,
    /// Platforms of the precompiled builds, if the lockfile has no plain form of the gem; else empty.
    pub platforms: Vec<String>,
    /// Names of the gems that it depends on.
    pub dependencies: Vec<String>,
    /// Origin of the gem.
    pub origin: GemOrigin,
    /// Checksum of the plain form, from the section `CHECKSUMS`.
    pub checksum: Option<Checksum>,
}

impl LockedGem {
    /// Returns the command by which the app's author gets the file of the gem's plain form.
    pub(crate) fn fetch_command(&self) -> &'static str {
        match self.platforms.is_empty() {
            true => "bundle cache",
            // Bundler caches the forms for the platforms of the lockfile.
            false => "gem fetch --platform ruby",
        }
    }
}

/// A lockfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lockfile {
    /// Gems by name.
    pub gems: BTreeMap<String, LockedGem>,
    /// Names of the gems that the Gemfile asks for.
    pub dependencies: BTreeSet<String>,
    /// Platforms that the lockfile was resolved for.
    pub platforms: Vec<String>,
    /// Version of Ruby, for example `ruby 3.4.1p0`.
    pub ruby: Option<String>,
    /// Version of Bundler.
    pub bundled_with: Option<String>,
}

impl Lockfile {
    /// Returns `wanted` and the gems they need, each after the gems it depends on. What a gem needs for which `is_leaf`
    /// holds is not among them.
    pub fn in_dependency_order(
        &self,
        wanted: impl IntoIterator<Item = String>,
        is_leaf: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        // Each name comes with whether its dependencies are in `order`. The stack is explicit because an untrusted
        // lockfile may be deep enough to overflow the thread's own.
        let mut stack: Vec<(String, bool)> = wanted.into_iter().map(|name| (name, false)).collect();
        stack.reverse();
        while let Some((name, ready)) = stack.pop() {
            if ready {
                order.push(name);
                continue;
            }
            if !seen.insert(name.clone()) {
                continue;
            }
            let Some(gem) = self.gems.get(&name) else {
                continue;
            };
            let is_leaf = is_leaf(&name);
            stack.push((name, true));
            if is_leaf {
                continue;
            }
            stack.extend(
                gem.dependencies
                    .iter()
                    .rev()
                    .map(|name| (name.clone(), false)),
            );
        }
        order
    }

    /// Returns the shortest chain of dependencies from a gem in `wanted` to `name`, `name` first.
    pub fn dependency_path<'a>(
        &'a self,
        wanted: impl IntoIterator<Item = &'a str>,
        name: &str,
    ) -> Vec<&'a str> {
        let mut parents: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        let mut queue = VecDeque::new();
        for root in wanted {
            if parents.insert(root, None).is_none() {
                queue.push_back(root);
            }
        }
        while let Some(gem) = queue.pop_front() {
            if gem == name {
                let mut path = vec![gem];
                while let Some(Some(parent)) = path.last().and_then(|last| parents.get(last)) {
                    path.push(parent);
                }
                return path;
            }
            let dependencies = self.gems.get(gem).map(|gem| gem.dependencies.iter());
            for dependency in dependencies.into_iter().flatten() {
                if !parents.contains_key(dependency.as_str()) {
                    parents.insert(dependency, Some(gem));
                    queue.push_back(dependency);
                }
            }
        }
        Vec::new()
    }
}
