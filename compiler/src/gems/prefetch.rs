//! Prefetch of gems: a few threads ask the servers while the installer adds earlier gems to the tree.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::fetch_error::FetchError;
use super::fetcher::{FetchedGem, GemFetcher, GemRequest};

/// Concurrent requests, as many as a browser makes to one host: most of a request is waiting.
const THREADS: usize = 6;

type FetchResult = Result<FetchedGem, FetchError>;

/// Results of the requests, which arrive in any order.
pub(super) struct Prefetch {
    results: Receiver<(usize, FetchResult)>,
    /// Results that arrived before the installer asked for them.
    early: BTreeMap<usize, FetchResult>,
}

impl Prefetch {
    /// Waits for the result of the request at `index`. Returns none if all threads ended without it.
    pub(super) fn take(&mut self, index: usize) -> Option<FetchResult> {
        loop {
            if let Some(result) = self.early.remove(&index) {
                return Some(result);
            }
            let (other, result) = self.results.recv().ok()?;
            self.early.insert(other, result);
        }
    }
}

/// Runs `body` while threads make `requests` in order. When `body` returns, they start no further request.
pub(super) fn run<T>(
    fetcher: &GemFetcher,
    requests: &[GemRequest<'_>],
    body: impl FnOnce(&mut Prefetch) -> T,
) -> T {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        // The bound keeps the threads from holding many gems in memory that the installer does not need yet.
        let (sender, results) = sync_channel(THREADS);
        for _ in 0..THREADS.min(requests.len()) {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || work(fetcher, requests, &sender, next, stop));
        }
        drop(sender);
        let mut prefetch = Prefetch {
            results,
            early: BTreeMap::new(),
        };
        let result = body(&mut prefetch);
        stop.store(true, Ordering::Relaxed);
        // Without its receiver a thread that waits in `send` ends too.
        drop(prefetch);
        result
    })
}

fn work(
    fetcher: &GemFetcher,
    requests: &[GemRequest<'_>],
    sender: &SyncSender<(usize, FetchResult)>,
    next: &AtomicUsize,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(request) = requests.get(index) else {
            return;
        };
        let result = fetcher.fetch(*request);
        if sender.send((index, result)).is_err() {
            return;
        }
    }
}
