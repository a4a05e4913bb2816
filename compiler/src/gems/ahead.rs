//! Gems fetched ahead: a few threads ask the servers while gems that came before are laid into the slug.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::remote::{FetchError, Fetched, GemFetcher, Wanted};

/// Requests at a time, as many as a browser has to one host: most of a request is waiting.
const THREADS: usize = 6;

type Answer = Result<Fetched, FetchError>;

/// The answers as they come, in any order.
pub(super) struct Ahead {
    answers: Receiver<(usize, Answer)>,
    early: BTreeMap<usize, Answer>,
}

impl Ahead {
    /// The answer for the gem at `index` of those that are wanted; none if no thread is left that could give it.
    pub(super) fn take(&mut self, index: usize) -> Option<Answer> {
        loop {
            if let Some(answer) = self.early.remove(&index) {
                return Some(answer);
            }
            let (other, answer) = self.answers.recv().ok()?;
            self.early.insert(other, answer);
        }
    }
}

/// Runs `body` while `wanted` is fetched. What is not fetched when it returns is left.
pub(super) fn fetch<T>(
    remote: &GemFetcher,
    wanted: &[Wanted<'_>],
    body: impl FnOnce(&mut Ahead) -> T,
) -> T {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let (sender, answers) = sync_channel(THREADS);
        for _ in 0..THREADS.min(wanted.len()) {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || work(remote, wanted, &sender, next, stop));
        }
        drop(sender);
        let mut ahead = Ahead {
            answers,
            early: BTreeMap::new(),
        };
        let result = body(&mut ahead);
        stop.store(true, Ordering::Relaxed);
        result
    })
}

fn work(
    remote: &GemFetcher,
    wanted: &[Wanted<'_>],
    sender: &SyncSender<(usize, Answer)>,
    next: &AtomicUsize,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(wanted) = wanted.get(index) else {
            return;
        };
        let answer = remote.get(*wanted);
        if sender.send((index, answer)).is_err() {
            return;
        }
    }
}
