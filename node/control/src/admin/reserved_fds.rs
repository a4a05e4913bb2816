//! Reserved file descriptors, for connections to the admin listener when the process has no others left.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

/// The number of reserved descriptors.
const COUNT: usize = 8;

/// A pool of descriptors that are kept open.
#[derive(Clone)]
pub(crate) struct ReservedFds(Arc<Mutex<Vec<File>>>);

/// A descriptor that was closed so that a connection can have it. Dropping this reserves one again, if the process has one.
pub(crate) struct LentFd(ReservedFds);

impl ReservedFds {
    pub(crate) fn new() -> std::io::Result<Self> {
        let files: Result<_, _> = (0..COUNT).map(|_| placeholder()).collect();
        Ok(Self(Arc::new(Mutex::new(files?))))
    }

    /// Closes a descriptor of the pool, if there is one.
    pub(crate) fn take(&self) -> Option<LentFd> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.pop().map(|_| LentFd(self.clone()))
    }
}

impl Drop for LentFd {
    fn drop(&mut self) {
        if let Ok(file) = placeholder() {
            let mut files = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            files.push(file);
        }
    }
}

fn placeholder() -> std::io::Result<File> {
    File::open("/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lent_descriptors_are_reserved_again() {
        let reserved = ReservedFds::new().unwrap();
        let all = || std::iter::from_fn(|| reserved.take()).collect::<Vec<_>>();
        let lent = all();
        assert_eq!(lent.len(), COUNT);
        drop(lent);
        assert_eq!(all().len(), COUNT);
    }
}
