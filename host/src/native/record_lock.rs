//! Record locks of open file descriptions (`F_OFD_SETLK` of fcntl(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// A kind of record lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordLockKind {
    Read,
    Write,
    Unlock,
}

/// A range of a file's bytes: from `start`, to the end of any length if `length` is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordLock {
    pub(crate) kind: RecordLockKind,
    pub(crate) start: i64,
    pub(crate) length: i64,
}

impl RecordLock {
    /// Every byte of the file, without a lock.
    pub(crate) const NONE: Self = Self {
        kind: RecordLockKind::Unlock,
        start: 0,
        length: 0,
    };

    fn to_kernel(self) -> libc::flock {
        let kind = match self.kind {
            RecordLockKind::Read => libc::F_RDLCK,
            RecordLockKind::Write => libc::F_WRLCK,
            RecordLockKind::Unlock => libc::F_UNLCK,
        };
        libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: self.start,
            l_len: self.length,
            // The kernel requires 0 here.
            l_pid: 0,
        }
    }
}

/// Sets or removes a lock of an open file description, without waiting.
///
/// # Errors
///
/// `EAGAIN` if a lock of another description excludes this one.
pub(crate) fn set_record_lock(file: impl AsFd, lock: RecordLock) -> io::Result<()> {
    let lock = lock.to_kernel();
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open during the call, and the kernel reads one `flock`, which outlives it.
    match unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &raw const lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Returns a lock of another description that excludes `lock`, if there is one.
///
/// # Errors
///
/// Those of fcntl(2).
pub(crate) fn find_record_lock(
    file: impl AsFd,
    lock: RecordLock,
) -> io::Result<Option<RecordLock>> {
    let mut found = lock.to_kernel();
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open during the call, and the kernel reads and writes one `flock`, which outlives it.
    if unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &raw mut found) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let kind = match libc::c_int::from(found.l_type) {
        libc::F_RDLCK => RecordLockKind::Read,
        libc::F_WRLCK => RecordLockKind::Write,
        _ => return Ok(None),
    };
    Ok(Some(RecordLock {
        kind,
        start: found.l_start,
        length: found.l_len,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_of_one_process_exclude_each_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let [one, other] = [file.reopen().unwrap(), file.reopen().unwrap()];
        let lock = |kind, start, length| RecordLock {
            kind,
            start,
            length,
        };
        set_record_lock(&one, lock(RecordLockKind::Write, 10, 5)).unwrap();
        let refused = set_record_lock(&other, lock(RecordLockKind::Read, 14, 1)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EAGAIN));
        set_record_lock(&other, lock(RecordLockKind::Read, 15, 1)).unwrap();
        let found = find_record_lock(&other, lock(RecordLockKind::Read, 0, 0)).unwrap();
        assert_eq!(found, Some(lock(RecordLockKind::Write, 10, 5)));
        set_record_lock(&one, RecordLock::NONE).unwrap();
        set_record_lock(&other, lock(RecordLockKind::Write, 0, 0)).unwrap();
        drop(other);
        set_record_lock(&one, lock(RecordLockKind::Write, 0, 0)).unwrap();
    }
}
