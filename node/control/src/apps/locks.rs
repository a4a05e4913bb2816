//! Locks by app: builds, and open git connections.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_abi::names::AppName;
use tokio::sync::Notify;

use crate::git::repository;

/// The time between two attempts to lock an app that is being built. A build takes a second or more.
const POLL: Duration = Duration::from_millis(20);

/// The operations that are in progress, by app.
#[derive(Default)]
pub struct AppLocks {
    /// Apps that are being built, changed or deleted.
    building: Mutex<HashSet<AppName>>,
    /// Open connections of git's protocol.
    receiving: Mutex<HashMap<AppName, usize>>,
    /// Apps whose repositories are being collected, and the signals that end it. Locked after `receiving`.
    collecting: Mutex<HashMap<AppName, Arc<Notify>>>,
    /// Apps that a git client was connected to since the last collection.
    pushed: Mutex<HashSet<AppName>>,
    /// Sweeps, collections of repositories and backups.
    maintenance: AtomicUsize,
}

impl AppLocks {
    /// Locks an app for a build. Returns `None` while another build of the app is in progress.
    pub(crate) fn begin_build(self: &Arc<Self>, app: &AppName) -> Option<BuildGuard> {
        let new = self.building().insert(app.clone());
        new.then(|| BuildGuard {
            locks: self.clone(),
            app: app.clone(),
        })
    }

    /// Locks an app for a build, after the one that is in progress.
    pub(crate) async fn wait_for_build(self: &Arc<Self>, app: &AppName) -> BuildGuard {
        loop {
            match self.begin_build(app) {
                Some(building) => return building,
                None => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Notes that a git client is connected to the app's `repository`, until the guard is dropped.
    pub(crate) fn begin_receiving(
        self: &Arc<Self>,
        app: &AppName,
        repository: PathBuf,
    ) -> ReceiveGuard {
        {
            let mut receiving = self.receiving();
            *receiving.entry(app.clone()).or_default() += 1;
            if let Some(collection) = self.collecting().get(app) {
                collection.notify_one();
            }
        }
        ReceiveGuard {
            locks: self.clone(),
            app: app.clone(),
            repository,
            is_cancelled: false,
        }
    }

    /// Notes that an app's repository is being collected. Returns `None` while a git client is connected, or the app is being
    /// built or collected.
    pub(crate) fn begin_collecting(self: &Arc<Self>, app: &AppName) -> Option<CollectionGuard> {
        let receiving = self.receiving();
        if receiving.contains_key(app) || self.building().contains(app) {
            return None;
        }
        let signal = Arc::new(Notify::new());
        match self.collecting().entry(app.clone()) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(entry) => entry.insert(signal.clone()),
        };
        Some(CollectionGuard {
            _maintenance: self.begin_maintenance(),
            locks: self.clone(),
            app: app.clone(),
            signal,
        })
    }

    /// Ends the collection of an app's repository, if one is in progress, and waits for it.
    pub(crate) async fn end_collecting(&self, app: &AppName) {
        loop {
            match self.collecting().get(app) {
                Some(collection) => collection.notify_one(),
                None => return,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Takes the apps that a git client was connected to.
    pub(crate) fn take_pushed(&self) -> HashSet<AppName> {
        std::mem::take(&mut *self.pushed())
    }

    /// Notes that work on the data directory is in progress, which a takeover waits for, until the guard is dropped.
    pub(crate) fn begin_maintenance(self: &Arc<Self>) -> MaintenanceGuard {
        self.maintenance.fetch_add(1, Ordering::SeqCst);
        MaintenanceGuard(self.clone())
    }

    /// Returns whether no build, no git connection and no maintenance is in progress.
    pub(crate) fn are_idle(&self) -> bool {
        self.building().is_empty()
            && self.receiving().is_empty()
            && self.maintenance.load(Ordering::SeqCst) == 0
    }

    fn collecting(&self) -> MutexGuard<'_, HashMap<AppName, Arc<Notify>>> {
        self.collecting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn pushed(&self) -> MutexGuard<'_, HashSet<AppName>> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn building(&self) -> MutexGuard<'_, HashSet<AppName>> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receiving(&self) -> MutexGuard<'_, HashMap<AppName, usize>> {
        self.receiving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A repository that is being collected.
pub(crate) struct CollectionGuard {
    _maintenance: MaintenanceGuard,
    locks: Arc<AppLocks>,
    app: AppName,
    signal: Arc<Notify>,
}

impl CollectionGuard {
    /// Waits until a git client needs the repository.
    pub(crate) async fn interrupted(&self) {
        self.signal.notified().await;
    }
}

impl Drop for CollectionGuard {
    fn drop(&mut self) {
        self.locks.collecting().remove(&self.app);
    }
}

/// Work on the data directory.
pub(crate) struct MaintenanceGuard(Arc<AppLocks>);

impl Drop for MaintenanceGuard {
    fn drop(&mut self) {
        self.0.maintenance.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The lock of an app that is being built.
pub(crate) struct BuildGuard {
    locks: Arc<AppLocks>,
    app: AppName,
}

impl Drop for BuildGuard {
    fn drop(&mut self) {
        self.locks.building().remove(&self.app);
    }
}

/// A connected git client. When an app's last one ends, the objects that killed pushes have left are removed.
pub(crate) struct ReceiveGuard {
    locks: Arc<AppLocks>,
    app: AppName,
    repository: PathBuf,
    is_cancelled: bool,
}

impl ReceiveGuard {
    /// Ends the guard without a change of the repository, which another process may own by now.
    pub(crate) fn cancel(mut self) {
        self.is_cancelled = true;
    }
}

impl Drop for ReceiveGuard {
    fn drop(&mut self) {
        let mut receiving = self.locks.receiving();
        let left = receiving.get(&self.app).map_or(0, |count| count - 1);
        if left > 0 {
            receiving.insert(self.app.clone(), left);
            return;
        }
        receiving.remove(&self.app);
        self.locks.pushed().insert(self.app.clone());
        if !self.is_cancelled {
            // The lock is still held: a push that begins now must keep its objects.
            repository::remove_quarantine(&self.repository);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_build_of_an_app_waits_for_the_first() {
        let locks = Arc::new(AppLocks::default());
        let [one, other] = ["one-app", "other-app"].map(|name| name.parse().unwrap());
        let first = locks.begin_build(&one);
        assert!(first.is_some() && locks.begin_build(&one).is_none());
        assert!(locks.begin_build(&other).is_some());
        assert!(!locks.are_idle());
        drop(first);
        assert!(locks.begin_build(&one).is_some() && locks.are_idle());
    }

    #[tokio::test]
    async fn git_client_ends_a_collection_and_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let locks = Arc::new(AppLocks::default());
        let app: AppName = "one-app".parse().unwrap();
        let collecting = locks.begin_collecting(&app).unwrap();
        assert!(locks.begin_collecting(&app).is_none() && !locks.are_idle());
        let ended = tokio::spawn(async move { collecting.interrupted().await });
        locks.end_collecting(&app).await;
        ended.await.unwrap();
        let client = locks.begin_receiving(&app, directory.path().to_owned());
        assert!(locks.begin_collecting(&app).is_none());
        drop(client);
        assert!(locks.take_pushed().contains(&app) && locks.take_pushed().is_empty());
        let building = locks.begin_build(&app);
        assert!(locks.begin_collecting(&app).is_none());
        drop(building);
        assert!(locks.begin_collecting(&app).is_some());
    }

    #[test]
    fn last_git_client_removes_quarantined_objects() {
        let directory = tempfile::tempdir().unwrap();
        let quarantine = directory.path().join("objects/incoming-1");
        std::fs::create_dir_all(&quarantine).unwrap();
        let locks = Arc::new(AppLocks::default());
        let app: AppName = "one-app".parse().unwrap();
        let clients = [(), ()].map(|()| locks.begin_receiving(&app, directory.path().to_owned()));
        let [one, other] = clients;
        drop(one);
        assert!(quarantine.exists() && !locks.are_idle());
        drop(other);
        assert!(!quarantine.exists() && locks.are_idle());
        std::fs::create_dir_all(&quarantine).unwrap();
        let late = locks.begin_receiving(&app, directory.path().to_owned());
        late.cancel();
        assert!(quarantine.exists() && locks.are_idle());
    }
}
