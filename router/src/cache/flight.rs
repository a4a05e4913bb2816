//! Collapsed forwarding: one request for a key goes to the app, the others wait for what comes of it.
//!
//! A wait ends when the answer's head is known not to be for others, and whenever who went ends in any way: the sender of
//! a flight is dropped with it. There are at most as many who wait as there are connections.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::filling::Filling;
use super::key::Key;
use super::stored::Stored;
use crate::failure::Failure;

/// Locks that the flights are spread over.
const SHARDS: usize = 16;

/// What came of a request that others waited for.
#[derive(Debug, Clone)]
pub(crate) enum Landed {
    /// A response that may be shared, stored or about to be.
    Stored(Arc<Stored>),
    /// One whose body is still on its way.
    Filling(Arc<Filling>),
    /// A response for who asked alone.
    Alone,
    /// The app has failed; so it would for the others.
    Failed(Failure),
}

/// All requests that others wait for.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    shards: [Mutex<HashMap<Key, watch::Receiver<Option<Landed>>>>; SHARDS],
}

/// What a request is to do.
pub(crate) enum Turn {
    /// To go.
    Lead(Lead),
    /// To wait.
    Follow(Follow),
}

impl Flights {
    /// The turn of a request for `key`.
    pub(crate) fn join(self: &Arc<Self>, key: &Key) -> Turn {
        match self.shard(key).entry(key.clone()) {
            Entry::Occupied(flight) => Turn::Follow(Follow(flight.get().clone())),
            Entry::Vacant(place) => {
                let (landing, flight) = watch::channel(None);
                place.insert(flight);
                Turn::Lead(Lead {
                    flights: self.clone(),
                    key: key.clone(),
                    landing,
                })
            }
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Option<Landed>>>> {
        // The last bytes are the target's, or a variant's.
        let spread = key.iter().rev().take(8).fold(0usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
        });
        self.shards[spread % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn to go. Dropped without an answer, one of those who wait goes.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    pub(crate) key: Key,
    landing: watch::Sender<Option<Landed>>,
}

impl Lead {
    /// Tells those who wait, and those who come until this is dropped.
    pub(crate) fn announce(&self, landed: Landed) {
        self.landing.send_replace(Some(landed));
    }

    /// Tells those who wait; returns whether there were any.
    pub(crate) fn land(self, landed: Landed) -> bool {
        // Nobody can begin to wait any more when they are counted.
        self.flights.shard(&self.key).remove(&self.key);
        let waited = self.landing.receiver_count() > 0;
        self.landing.send_replace(Some(landed));
        waited
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut shard = self.flights.shard(&self.key);
        // After `land` another may have begun under the same key.
        let own = |flight: &watch::Receiver<Option<Landed>>| {
            flight.same_channel(&self.landing.subscribe())
        };
        if shard.get(&self.key).is_some_and(own) {
            shard.remove(&self.key);
        }
    }
}

/// The turn to wait.
pub(crate) struct Follow(watch::Receiver<Option<Landed>>);

impl Follow {
    /// What came of it; nothing if who went has gone without an answer.
    pub(crate) async fn landed(mut self) -> Option<Landed> {
        let landed = self.0.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::from(&b"key"[..])
    }

    #[tokio::test]
    async fn one_goes_and_the_others_learn_what_came_of_it() {
        let flights = Arc::new(Flights::default());
        let Turn::Lead(lead) = flights.join(&key()) else {
            panic!("the first goes")
        };
        let Turn::Follow(follow) = flights.join(&key()) else {
            panic!("the second waits")
        };
        assert!(lead.land(Landed::Alone));
        assert!(matches!(follow.landed().await, Some(Landed::Alone)));
        let Turn::Lead(again) = flights.join(&key()) else {
            panic!("the next one goes")
        };
        assert!(!again.land(Landed::Alone));
    }

    #[tokio::test]
    async fn whoever_goes_away_lets_another_go() {
        let flights = Arc::new(Flights::default());
        let Turn::Lead(lead) = flights.join(&key()) else {
            panic!("the first goes")
        };
        let Turn::Follow(follow) = flights.join(&key()) else {
            panic!("the second waits")
        };
        drop(lead);
        assert!(follow.landed().await.is_none());
        assert!(matches!(flights.join(&key()), Turn::Lead(_)));
    }
}
