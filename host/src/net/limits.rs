//! Limits on the kernel's descriptors and on name resolution, per node and per app.
//!
//! Sockets of the kernel and files of volumes take descriptors of the node's process, of which its connections and images need others. An app
//! may hold a multiple of what it leaves to others, so that no app takes them all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use corundum_exchange::{BoundedCounter, Reservation};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most that an app may hold, as a multiple of what it leaves to others above the floor.
const SHARE: usize = 7;
/// Part of the sockets that greedy apps leave.
const FLOOR: usize = 4;
/// Part of the sockets that every app may hold, the floor included.
const SMALL: usize = 64;
/// Lookups that run at once in a node. Each holds a helper thread, of which the runtime has several hundred.
const LOOKUPS: usize = 64;
/// Lookups that run at once for one app.
const APP_LOOKUPS: usize = 16;

/// Sockets and lookups of all dynos of a node.
pub(crate) struct NodeNetwork {
    sockets: Arc<BoundedCounter>,
    lookups: Arc<Semaphore>,
}

impl NodeNetwork {
    /// Creates the limits of a node whose dynos may have `sockets` sockets of the kernel.
    pub(crate) fn new(sockets: usize) -> Arc<Self> {
        Arc::new(Self {
            sockets: BoundedCounter::new(sockets),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        })
    }
}

/// Sockets and lookups of the dynos of one app.
pub(crate) struct AppNetwork {
    node: Arc<NodeNetwork>,
    sockets: AtomicUsize,
    lookups: Arc<Semaphore>,
}

/// Permission to have one socket of the kernel or one file of a volume, until this is dropped.
pub(crate) struct DescriptorPermit {
    app: Arc<AppNetwork>,
    _socket: Reservation,
}

/// Permission to run one lookup, until this is dropped.
pub(super) struct LookupPermit {
    _app: OwnedSemaphorePermit,
    _node: OwnedSemaphorePermit,
}

impl AppNetwork {
    pub(crate) fn new(node: Arc<NodeNetwork>) -> Arc<Self> {
        Arc::new(Self {
            node,
            sockets: AtomicUsize::new(0),
            lookups: Arc::new(Semaphore::new(APP_LOOKUPS)),
        })
    }

    /// Takes a socket or a file. Returns `None` if the node has none left, or the app has its share.
    pub(crate) fn take_descriptor(self: &Arc<Self>) -> Option<DescriptorPermit> {
        let all = self.node.sockets.limit();
        let left = self.node.sockets.available().saturating_sub(1);
        let above_floor = left.saturating_sub(all / FLOOR);
        let most = above_floor.saturating_mul(SHARE).max(all / SMALL).max(1);
        let more = |held: usize| (held < most).then_some(held + 1);
        let order = Ordering::Relaxed;
        self.sockets.fetch_update(order, order, more).ok()?;
        match self.node.sockets.try_reserve(1) {
            Some(socket) => Some(DescriptorPermit {
                app: self.clone(),
                _socket: socket,
            }),
            None => {
                self.sockets.fetch_sub(1, order);
                None
            }
        }
    }

    /// Waits until a lookup may run: first for the app's turn, so that an app that waits keeps no other from its own.
    pub(super) async fn take_lookup(&self) -> Option<LookupPermit> {
        let app = self.lookups.clone().acquire_owned().await.ok()?;
        let node = self.node.lookups.clone().acquire_owned().await.ok()?;
        Some(LookupPermit {
            _app: app,
            _node: node,
        })
    }
}

impl Drop for DescriptorPermit {
    fn drop(&mut self) {
        self.app.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_app_leaves_sockets_to_others() {
        let node = NodeNetwork::new(1024);
        let greedy = AppNetwork::new(node.clone());
        let held: Vec<_> = std::iter::from_fn(|| greedy.take_descriptor()).collect();
        assert!((600..700).contains(&held.len()), "{}", held.len());
        let apps: Vec<_> = (0..10).map(|_| AppNetwork::new(node.clone())).collect();
        for app in &apps {
            let some: Vec<_> = (0..16).filter_map(|_| app.take_descriptor()).collect();
            assert_eq!(some.len(), 16);
        }
        drop(held);
        assert_eq!(
            (
                node.sockets.in_use(),
                greedy.sockets.load(Ordering::Relaxed)
            ),
            (0, 0)
        );
    }

    #[test]
    fn node_without_sockets_refuses() {
        let node = NodeNetwork::new(2);
        let app = AppNetwork::new(node.clone());
        let one = app.take_descriptor();
        let other = AppNetwork::new(node.clone());
        let two = other.take_descriptor();
        assert!(one.is_some() && two.is_some());
        assert!(AppNetwork::new(node).take_descriptor().is_none());
    }
}
