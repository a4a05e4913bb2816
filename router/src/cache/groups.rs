//! Which entries belong to an app, a URL or a tag, so that a purge finds them without looking at all.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::key::Key;

/// A group's number. Two groups may share one by a chance of 2⁻⁶⁴: too much would be purged then.
pub(crate) type Group = u64;

/// Locks that the groups are spread over.
const SHARDS: usize = 16;

/// What a group is of.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) enum Of<'a> {
    /// All of the app's.
    App,
    /// One URL, by host name and target, for every scheme, port and variant.
    Url(&'a str, &'a [u8]),
    /// A tag.
    Tag(&'a [u8]),
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    numbers: RandomState,
    shards: [Mutex<HashMap<Group, HashMap<u64, Key>>>; SHARDS],
    entries: std::sync::atomic::AtomicU64,
}

impl Groups {
    /// The number of a group.
    pub(crate) fn number(&self, app: &str, of: Of<'_>) -> Group {
        self.numbers.hash_one((app, of))
    }

    /// Adds an entry to its groups, until what is returned is dropped.
    pub(crate) fn join(self: &Arc<Self>, key: &Key, groups: &[Group]) -> Membership {
        let entry = self
            .entries
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        for group in groups {
            self.shard(*group)
                .entry(*group)
                .or_default()
                .insert(entry, key.clone());
        }
        Membership {
            all: self.clone(),
            groups: groups.into(),
            entry,
        }
    }

    /// The keys of a group's entries.
    pub(crate) fn keys(&self, group: Group) -> Vec<Key> {
        let shard = self.shard(group);
        shard
            .get(&group)
            .into_iter()
            .flat_map(|entries| entries.values().cloned())
            .collect()
    }

    fn shard(&self, group: Group) -> MutexGuard<'_, HashMap<Group, HashMap<u64, Key>>> {
        let shard = &self.shards[group as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry's place in its groups.
#[derive(Debug)]
pub(crate) struct Membership {
    all: Arc<Groups>,
    pub(crate) groups: Box<[Group]>,
    entry: u64,
}

impl Drop for Membership {
    fn drop(&mut self) {
        for group in &self.groups {
            let mut shard = self.all.shard(*group);
            let Some(entries) = shard.get_mut(group) else {
                continue;
            };
            entries.remove(&self.entry);
            if entries.is_empty() {
                shard.remove(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_leaves_its_groups_when_it_goes() {
        let groups = Arc::new(Groups::default());
        let (app, tag) = (
            groups.number("a", Of::App),
            groups.number("a", Of::Tag(b"t")),
        );
        assert_ne!(tag, groups.number("b", Of::Tag(b"t")));
        let one = groups.join(&Key::from(&b"one"[..]), &[app, tag]);
        let two = groups.join(&Key::from(&b"two"[..]), &[app]);
        assert_eq!((groups.keys(app).len(), groups.keys(tag).len()), (2, 1));
        drop(one);
        assert_eq!((groups.keys(app).len(), groups.keys(tag).len()), (1, 0));
        drop(two);
        assert!(
            groups
                .shards
                .iter()
                .all(|shard| shard.lock().unwrap().is_empty())
        );
    }
}
