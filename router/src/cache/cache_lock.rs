//! Collapsed forwarding: one request per key, the leader, goes to the app; the others follow and wait for its outcome.
//!
//! A wait ends when the head of the leader's response shows that others cannot share it, and whenever the leader ends
//! in any way, because the sender of the outcome is dropped with it. The number of followers is bounded by the number
//! of connections.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::cached_response::CachedResponse;
use super::key::Key;
use super::streaming_fill::StreamingFill;
use crate::failure::Failure;

/// Mutexes that the locks are spread over.
const SHARDS: usize = 16;

type Locks = HashMap<Key, watch::Receiver<Option<FetchOutcome>>>;

/// Outcome of a leader's request.
#[derive(Debug, Clone)]
pub(crate) enum FetchOutcome {
    /// A response that may be shared; its body is complete.
    Cached(Arc<CachedResponse>),
    /// A response that may be shared; its body is still arriving.
    Streaming(Arc<StreamingFill>),
    /// A response for the leader's client alone.
    Private,
    /// The app failed, and would fail for the followers too.
    Failed(Failure),
}

/// All locks.
#[derive(Debug, Default)]
pub(crate) struct CacheLocks {
    shards: [Mutex<Locks>; SHARDS],
}

/// Part that a request plays for its key.
pub(crate) enum LockRole {
    /// It goes to the app.
    Leader(Leader),
    /// It waits for the leader.
    Follower(Follower),
}

impl CacheLocks {
    /// Joins the requests for `key`: the first becomes the leader.
    pub(crate) fn join(self: &Arc<Self>, key: &Key) -> LockRole {
        match self.shard(key).entry(key.clone()) {
            Entry::Occupied(lock) => LockRole::Follower(Follower(lock.get().clone())),
            Entry::Vacant(vacant) => {
                let (outcome, receiver) = watch::channel(None);
                vacant.insert(receiver);
                LockRole::Leader(Leader {
                    locks: self.clone(),
                    key: key.clone(),
                    outcome,
                })
            }
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Locks> {
        // Keys of an app begin alike; the last bytes are the target's, or a variant's.
        let hash = key.iter().rev().take(8).fold(0usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
        });
        self.shards[hash % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Permission to fetch the response for a key. If it is dropped without an outcome, a follower takes its place.
pub(crate) struct Leader {
    locks: Arc<CacheLocks>,
    key: Key,
    outcome: watch::Sender<Option<FetchOutcome>>,
}

impl Leader {
    /// Publishes an outcome to all followers, and to those that join until the leader is dropped.
    pub(crate) fn publish(&self, outcome: FetchOutcome) {
        self.outcome.send_replace(Some(outcome));
    }

    /// Publishes the outcome and releases the lock. Returns whether there were followers.
    pub(crate) fn finish(self, outcome: FetchOutcome) -> bool {
        // Removed first: no follower can join after they are counted.
        self.locks.shard(&self.key).remove(&self.key);
        let followed = self.outcome.receiver_count() > 0;
        self.outcome.send_replace(Some(outcome));
        followed
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let mut shard = self.locks.shard(&self.key);
        // After `finish` another leader may hold the lock of the same key.
        let own = |receiver: &watch::Receiver<Option<FetchOutcome>>| {
            receiver.same_channel(&self.outcome.subscribe())
        };
        if shard.get(&self.key).is_some_and(own) {
            shard.remove(&self.key);
        }
    }
}

/// Waits for a leader.
pub(crate) struct Follower(watch::Receiver<Option<FetchOutcome>>);

impl Follower {
    /// Waits for the leader's outcome; none if the leader ended without one.
    pub(crate) async fn outcome(mut self) -> Option<FetchOutcome> {
        let outcome = self.0.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::from(&b"key"[..])
    }

    #[tokio::test]
    async fn follower_gets_the_leaders_outcome() {
        let locks = Arc::new(CacheLocks::default());
        let LockRole::Leader(leader) = locks.join(&key()) else {
            panic!("the first request must lead")
        };
        let LockRole::Follower(follower) = locks.join(&key()) else {
            panic!("the second request must follow")
        };
        assert!(leader.finish(FetchOutcome::Private));
        assert!(matches!(
            follower.outcome().await,
            Some(FetchOutcome::Private)
        ));
        let LockRole::Leader(again) = locks.join(&key()) else {
            panic!("the next request must lead")
        };
        assert!(!again.finish(FetchOutcome::Private));
    }

    #[tokio::test]
    async fn dropped_leader_releases_the_lock() {
        let locks = Arc::new(CacheLocks::default());
        let LockRole::Leader(leader) = locks.join(&key()) else {
            panic!("the first request must lead")
        };
        let LockRole::Follower(follower) = locks.join(&key()) else {
            panic!("the second request must follow")
        };
        drop(leader);
        assert!(follower.outcome().await.is_none());
        assert!(matches!(locks.join(&key()), LockRole::Leader(_)));
    }
}
