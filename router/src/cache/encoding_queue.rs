//! Large stored responses that wait to be encoded, taken from the apps in turn.
//!
//! An encoding always ends, so nothing is kept free for apps that come later: one app may use every thread while no
//! other waits, and the next thread goes to the waiting app that uses the fewest.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stats::CacheCounters;

/// Large bodies that a node encodes at a time, each on a thread outside the router's own.
const MAX_CONCURRENT: usize = 2;

/// Encodings of one app that wait. A response beyond them is sent unencoded, and tried again at its next hit.
const MAX_WAITING: usize = 8;

/// Work of one encoding.
pub(super) type Encoding = Box<dyn FnOnce() + Send>;

/// An app, identified by the address of its counters.
type AppId = usize;

/// Encodings that wait, and the apps whose encodings run.
#[derive(Default)]
pub(super) struct EncodingQueue {
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    /// Apps with waiting encodings, in the order in which they take turns.
    waiting: VecDeque<WaitingApp>,
    /// App of each running encoding.
    running: Vec<AppId>,
}

struct WaitingApp {
    id: AppId,
    encodings: VecDeque<Encoding>,
}

impl EncodingQueue {
    /// Adds an encoding of the app with these counters. Returns false if too many of the app's are waiting.
    pub(super) fn push(self: &Arc<Self>, app: &Arc<CacheCounters>, encoding: Encoding) -> bool {
        let starts = self.state().push(Arc::as_ptr(app) as AppId, encoding);
        match starts {
            Some(true) => {
                let queue = self.clone();
                tokio::task::spawn_blocking(move || queue.work());
                true
            }
            Some(false) => true,
            None => false,
        }
    }

    /// Runs encodings until none waits.
    fn work(&self) {
        loop {
            let Some((id, encoding)) = self.state().next() else {
                return;
            };
            // A panic ends its own encoding, not those that wait behind it.
            let _ = catch_unwind(AssertUnwindSafe(encoding));
            self.state().ended(id);
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    /// Adds an encoding. Returns whether it needs another thread, or `None` if too many of the app's are waiting.
    fn push(&mut self, id: AppId, encoding: Encoding) -> Option<bool> {
        match self.waiting.iter_mut().find(|app| app.id == id) {
            Some(app) if app.encodings.len() >= MAX_WAITING => return None,
            Some(app) => app.encodings.push_back(encoding),
            None => self.waiting.push_back(WaitingApp {
                id,
                encodings: VecDeque::from([encoding]),
            }),
        }
        Some(self.running.len() < MAX_CONCURRENT)
    }

    /// Takes the next encoding if a thread may run it: one of the app with the fewest running ones, and among these of
    /// the app that has waited longest for its turn.
    fn next(&mut self) -> Option<(AppId, Encoding)> {
        if self.running.len() >= MAX_CONCURRENT {
            return None;
        }
        let running = |id: AppId| self.running.iter().filter(|other| **other == id).count();
        let apps = self.waiting.iter().enumerate();
        let (at, _) = apps.min_by_key(|(_, app)| running(app.id))?;
        let mut app = self.waiting.remove(at)?;
        let (id, encoding) = (app.id, app.encodings.pop_front()?);
        if !app.encodings.is_empty() {
            self.waiting.push_back(app);
        }
        self.running.push(id);
        Some((id, encoding))
    }

    /// Records that an encoding of an app has ended.
    fn ended(&mut self, id: AppId) {
        if let Some(at) = self.running.iter().position(|other| *other == id) {
            self.running.swap_remove(at);
        }
    }
}

impl std::fmt::Debug for EncodingQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.state().waiting.len();
        f.debug_struct("EncodingQueue")
            .field("waiting_apps", &waiting)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Encoding {
        Box::new(|| {})
    }

    #[test]
    fn app_that_is_alone_uses_every_thread() {
        let mut state = QueueState::default();
        for _ in 0..4 {
            assert!(state.push(1, nothing()).is_some());
        }
        assert_eq!(state.next().unwrap().0, 1);
        assert_eq!(state.next().unwrap().0, 1);
        assert!(state.next().is_none(), "all threads are in use");
    }

    #[test]
    fn thread_that_becomes_free_goes_to_the_app_with_the_fewest() {
        let mut state = QueueState::default();
        for _ in 0..MAX_WAITING {
            state.push(1, nothing());
        }
        let hog = [state.next().unwrap().0, state.next().unwrap().0];
        assert_eq!(hog, [1, 1]);
        state.push(2, nothing());
        state.push(3, nothing());
        state.ended(1);
        assert_eq!(state.next().unwrap().0, 2);
        state.ended(2);
        assert_eq!(state.next().unwrap().0, 3);
    }

    #[test]
    fn waiting_encodings_of_an_app_are_bounded() {
        let mut state = QueueState::default();
        for _ in 0..MAX_WAITING {
            assert!(state.push(1, nothing()).is_some());
        }
        assert!(state.push(1, nothing()).is_none());
        assert!(state.push(2, nothing()).is_some());
    }

    #[tokio::test]
    async fn every_encoding_runs_although_one_panics() {
        let queue = Arc::new(EncodingQueue::default());
        let (done, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let apps: [Arc<CacheCounters>; 3] = Default::default();
        assert!(queue.push(&apps[0], Box::new(|| panic!("an encoder failed"))));
        for app in apps.iter().cycle().take(12) {
            let done = done.clone();
            assert!(queue.push(
                app,
                Box::new(move || {
                    let _ = done.send(());
                })
            ));
        }
        drop(done);
        for _ in 0..12 {
            ended.recv().await.unwrap();
        }
        assert!(ended.recv().await.is_none());
    }
}
