//! Gems of a lockfile and their dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::checksum::Checksum;

/// Origin of a gem, by the section that lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GemOrigin {
    /// URLs of gem servers, which the gems of a section share. Old Gemfiles may name several global sources; others name
    /// one.
    Servers(Arc<[String]>),
    /// URI of a git repository.
    Git(String),
    /// Folder of the app.
    Path(String),
    /// URI that a Bundler plugin understands.
    Plugin(String),
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
    /// Returns `wanted` and the gems they need, each after the gems it depends on.
    pub fn in_dependency_order(&self, wanted: impl IntoIterator<Item = String>) -> Vec<String> {
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
            stack.push((name, true));
            stack.extend(
                gem.dependencies
                    .iter()
                    .rev()
                    .map(|name| (name.clone(), false)),
            );
        }
        order
    }
}
