//! Descriptors that are put by for when the process has no others left.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

/// As many connections are taken in need.
const COUNT: usize = 8;

/// Descriptors that are put by.
#[derive(Clone)]
pub(crate) struct Spare(Arc<Mutex<Vec<File>>>);

/// A descriptor that was set free. It is put by again when this is dropped, if there is one to be had by then.
pub(crate) struct Used(Spare);

impl Spare {
    pub(crate) fn new() -> std::io::Result<Self> {
        let files: Result<_, _> = (0..COUNT).map(|_| nothing()).collect();
        Ok(Self(Arc::new(Mutex::new(files?))))
    }

    /// Sets one free, if there is one.
    pub(crate) fn take(&self) -> Option<Used> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.pop().map(|_| Used(self.clone()))
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        if let Ok(file) = nothing() {
            let mut files = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            files.push(file);
        }
    }
}

fn nothing() -> std::io::Result<File> {
    File::open("/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_put_by_again() {
        let spare = Spare::new().unwrap();
        let all = || std::iter::from_fn(|| spare.take()).collect::<Vec<_>>();
        let used = all();
        assert_eq!(used.len(), COUNT);
        drop(used);
        assert_eq!(all().len(), COUNT);
    }
}
