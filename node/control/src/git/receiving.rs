//! Pushes in progress: from the connection of the pusher to the release.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::push::BuiltPush;

/// The pushes whose connections are open, by number.
#[derive(Default)]
pub struct ReceivingPushes {
    last: AtomicU64,
    open: Mutex<HashMap<u64, Arc<ReceivingPush>>>,
}

/// A push in progress.
pub(crate) struct ReceivingPush {
    /// The permission to receive objects, until git has them.
    slot: Mutex<Option<OwnedSemaphorePermit>>,
    /// True once git has received all objects and the node has heard of the push.
    received: AtomicBool,
    /// The build, until it is released.
    built: Mutex<Option<BuiltPush>>,
}

impl ReceivingPushes {
    /// Adds a push, which lasts until the returned value is dropped. `slot` is freed when git has received the objects.
    pub(crate) fn open(self: &Arc<Self>, slot: OwnedSemaphorePermit) -> OpenPush {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let push = Arc::new(ReceivingPush {
            slot: Mutex::new(Some(slot)),
            received: AtomicBool::new(false),
            built: Mutex::default(),
        });
        self.pushes().insert(number, push.clone());
        OpenPush {
            pushes: self.clone(),
            number,
            push,
        }
    }

    /// Returns an open push.
    pub(crate) fn get(&self, number: u64) -> Option<Arc<ReceivingPush>> {
        self.pushes().get(&number).cloned()
    }

    fn pushes(&self) -> MutexGuard<'_, HashMap<u64, Arc<ReceivingPush>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReceivingPush {
    /// Notes that git has received the objects of the push.
    pub(crate) fn set_received(&self) {
        drop(lock(&self.slot).take());
        self.received.store(true, Ordering::Relaxed);
    }

    /// Keeps a finished build until git has kept its objects.
    pub(crate) fn set_built(&self, built: BuiltPush) {
        *lock(&self.built) = Some(built);
    }

    /// Takes the finished build.
    pub(crate) fn take_built(&self) -> Option<BuiltPush> {
        lock(&self.built).take()
    }
}

/// An open push. When this is dropped, a build that was not released is removed.
pub(crate) struct OpenPush {
    pushes: Arc<ReceivingPushes>,
    number: u64,
    push: Arc<ReceivingPush>,
}

impl OpenPush {
    /// Returns the number of the push, by which git's hooks name it.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns whether git has received all objects and the node has heard of the push.
    pub(crate) fn is_received(&self) -> bool {
        self.push.received.load(Ordering::Relaxed)
    }
}

impl Drop for OpenPush {
    fn drop(&mut self) {
        self.pushes.pushes().remove(&self.number);
        drop(self.push.take_built());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn slot_is_free_once_the_objects_are_received() {
        let slots = Arc::new(Semaphore::new(1));
        let pushes = Arc::new(ReceivingPushes::default());
        let open = pushes.open(slots.clone().acquire_owned().await.unwrap());
        assert_eq!(slots.available_permits(), 0);
        let push = pushes.get(open.number()).unwrap();
        push.set_received();
        assert!(slots.available_permits() == 1 && open.is_received());
        let number = open.number();
        drop(open);
        assert!(pushes.get(number).is_none());
    }
}
