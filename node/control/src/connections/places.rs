//! Places of a listener's connections: clients with a token have some of their own.
//!
//! A connection enters as a newcomer. A newcomer that finds all places taken gets the place of the oldest one, so that
//! the listener always accepts, and however many idle connections delay nobody. A newcomer whose request has a valid token
//! becomes a client and leaves its place to the next.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The most connections of a listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaceLimits {
    /// Connections that have not shown a token.
    pub(crate) newcomers: usize,
    /// Connections with a token.
    pub(crate) clients: usize,
    /// Connections with the same token.
    pub(crate) of_one_client: usize,
}

/// All places for clients are taken, or those of this client.
#[derive(Debug)]
pub(crate) struct NoPlace;

/// The places of a listener.
pub(crate) struct ConnectionPlaces {
    limits: PlaceLimits,
    table: Mutex<PlaceTable>,
}

#[derive(Default)]
struct PlaceTable {
    /// The number of the next connection.
    next: u64,
    /// The newcomers by their numbers, oldest first.
    newcomers: BTreeMap<u64, Arc<Notify>>,
    /// Numbers of connections by client.
    clients: HashMap<String, usize>,
}

impl ConnectionPlaces {
    /// Creates the places.
    pub(crate) fn new(limits: PlaceLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            table: Mutex::default(),
        })
    }

    /// Gives a connection a place. The oldest newcomer leaves if there is no other.
    pub(crate) fn enter(self: &Arc<Self>) -> Place {
        let evicted = Arc::new(Notify::new());
        let mut table = self.table();
        while table.newcomers.len() >= self.limits.newcomers {
            let Some((_, oldest)) = table.newcomers.pop_first() else {
                break;
            };
            oldest.notify_one();
        }
        let number = table.next;
        table.next += 1;
        table.newcomers.insert(number, evicted.clone());
        Place {
            places: self.clone(),
            number,
            evicted,
            client: Mutex::new(None),
            is_dispensable: AtomicBool::new(false),
        }
    }

    fn table(&self) -> MutexGuard<'_, PlaceTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a connection, until it is dropped.
pub(crate) struct Place {
    places: Arc<ConnectionPlaces>,
    number: u64,
    evicted: Arc<Notify>,
    /// The client, once its token has been checked.
    client: Mutex<Option<String>>,
    is_dispensable: AtomicBool,
}

impl Place {
    /// Waits until a newer connection needs the place.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Returns whether the connection has shown a token.
    pub(crate) fn is_client(&self) -> bool {
        self.client().is_some()
    }

    /// Notes the client that the connection belongs to, as its token says.
    ///
    /// # Errors
    ///
    /// [`NoPlace`]; the connection stays what it was.
    pub(crate) fn admit(&self, client: &str) -> Result<(), NoPlace> {
        let mut known = self.client();
        if known.as_deref() == Some(client) {
            return Ok(());
        }
        let mut table = self.places.table();
        let limits = self.places.limits;
        let others: usize = table.clients.values().sum();
        let own = table.clients.get(client).copied().unwrap_or(0);
        if others >= limits.clients || own >= limits.of_one_client {
            return Err(NoPlace);
        }
        match known.take() {
            Some(earlier) => table.leave(&earlier),
            // An evicted newcomer has no place to give up, and its connection ends.
            None => table
                .newcomers
                .remove(&self.number)
                .map(drop)
                .ok_or(NoPlace)?,
        }
        *table.clients.entry(client.to_owned()).or_default() += 1;
        *known = Some(client.to_owned());
        Ok(())
    }

    /// Notes whether a takeover may close the connection in the middle of its request.
    pub(crate) fn set_dispensable(&self, is_dispensable: bool) {
        self.is_dispensable.store(is_dispensable, Ordering::SeqCst);
    }

    /// Returns whether a takeover may close the connection in the middle of its request.
    pub(crate) fn is_dispensable(&self) -> bool {
        self.is_dispensable.load(Ordering::SeqCst)
    }

    fn client(&self) -> MutexGuard<'_, Option<String>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlaceTable {
    fn leave(&mut self, client: &str) {
        if let Some(count) = self.clients.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(client);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let client = self.client().take();
        let mut table = self.places.table();
        match client {
            Some(client) => table.leave(&client),
            None => drop(table.newcomers.remove(&self.number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: PlaceLimits = PlaceLimits {
        newcomers: 2,
        clients: 3,
        of_one_client: 2,
    };

    async fn is_evicted(place: &Place) -> bool {
        let evicted = tokio::time::timeout(Duration::from_millis(10), place.evicted());
        evicted.await.is_ok()
    }

    #[tokio::test]
    async fn newcomer_gets_the_place_of_the_oldest_one() {
        let places = ConnectionPlaces::new(LIMITS);
        let [first, second, third] = [(), (), ()].map(|()| places.enter());
        assert!(is_evicted(&first).await);
        assert!(!is_evicted(&second).await && !is_evicted(&third).await);
        assert!(first.admit("late").is_err());
        drop(first);
        drop(second);
        let fourth = places.enter();
        assert!(!is_evicted(&third).await && !is_evicted(&fourth).await);
    }

    #[tokio::test]
    async fn clients_are_not_evicted_and_have_shares() {
        let places = ConnectionPlaces::new(LIMITS);
        let enter = |client: &str| {
            let place = places.enter();
            place.admit(client).map(|()| place)
        };
        let one = [enter("one").unwrap(), enter("one").unwrap()];
        assert!(enter("one").is_err());
        let other = enter("other").unwrap();
        assert!(enter("third").is_err());
        for _ in 0..10 {
            drop(places.enter());
        }
        let _newcomers = [places.enter(), places.enter(), places.enter()];
        for place in one.iter().chain([&other]) {
            assert!(place.is_client() && !is_evicted(place).await);
            let client = if std::ptr::eq(place, &other) {
                "other"
            } else {
                "one"
            };
            assert!(place.admit(client).is_ok());
        }
        drop(one);
        assert!(enter("third").is_ok());
        // A connection may show one token after another.
        assert!(other.admit("one").is_ok());
        assert!(!places.table().clients.contains_key("other"));
        drop(other);
        assert!(places.table().clients.is_empty());
    }
}
