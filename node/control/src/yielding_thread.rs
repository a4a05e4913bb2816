//! Threads for work that may take long and that nobody waits for: they yield to all others.

use tokio::sync::oneshot::{self, Receiver};

/// The niceness of such a thread, the highest.
const NICENESS: i32 = 19;

/// Does `work` on a thread of its own, whose priority no later work inherits. Returns `None` if the system has no thread; the
/// receiver fails if the work panics.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<Receiver<T>> {
    let (done, finished) = oneshot::channel();
    let run = move || {
        let _ = rustix::process::nice(NICENESS);
        let _ = done.send(work());
    };
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(run).ok().map(|_| finished)
}
