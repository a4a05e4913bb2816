//! Record locks of files (fcntl(2)), and waiting for the disk (fsync(2)).
//!
//! A dyno is one process: its own locks never exclude each other, so a lock of a file that no other dyno can open always succeeds.

use std::sync::Arc;

use wasi_common::file::FileAccessMode;
use wasi_common::snapshots::preview_1::types::Errno;
use wasmtime::{Caller, Linker};

use super::calls::MODULE;
use super::descriptors::Descriptors;
use super::file::OpenFile;
use crate::console::RunSession;
use crate::guest_state::GuestState;
use crate::native::{RecordLock, RecordLockKind};
use crate::preemption::set_interrupt_flag;
use crate::wasi::{self, guest, store};

/// Commands of fcntl(2).
const GET: i32 = 5;
const SET: i32 = 6;
const SET_AND_WAIT: i32 = 7;

/// Bytes of `struct flock` of the guest.
const FLOCK: usize = 32;

pub(super) fn define(linker: &mut Linker<GuestState>) -> wasi::Result<()> {
    linker.func_wrap_async(
        MODULE,
        "record_lock",
        |mut caller: Caller<'_, GuestState>, (fd, command, lock): (i32, i32, i32)| {
            Box::new(async move {
                let (memory, state) = guest(&mut caller)?;
                let session = state.session.clone();
                let locked = record_lock(memory, &state.files, session, fd, command, lock).await;
                let errno = locked.err().map_or(0, |errno| errno as i32);
                if errno == Errno::Intr as i32 {
                    set_interrupt_flag(&mut caller);
                }
                Ok(errno)
            })
        },
    )?;
    Ok(())
}

async fn record_lock(
    memory: &mut [u8],
    files: &Descriptors,
    session: Option<Arc<RunSession>>,
    fd: i32,
    command: i32,
    at: i32,
) -> Result<(), Errno> {
    let file = files.file(fd.cast_unsigned()).ok_or(Errno::Badf)?.clone();
    let start = at.cast_unsigned() as usize;
    let end = start.checked_add(FLOCK).ok_or(Errno::Fault)?;
    let record = memory.get(start..end).ok_or(Errno::Fault)?;
    let lock = requested(&file, record)?;
    let needed = match (command, lock.kind) {
        (GET, _) | (_, RecordLockKind::Unlock) => FileAccessMode::empty(),
        (_, RecordLockKind::Read) => FileAccessMode::READ,
        (_, RecordLockKind::Write) => FileAccessMode::WRITE,
    };
    if !file.access().contains(needed) {
        return Err(Errno::Badf);
    }
    let mount = files.filesystem().volume();
    let found = match (command, file.of_volume().zip(mount.ok())) {
        (GET, Some((file, mount))) => mount.find_lock(file, lock)?,
        (SET, Some((file, mount))) => return mount.set_lock(file, lock),
        (SET_AND_WAIT, Some((of_volume, mount))) => {
            let waiting = mount.wait_for_lock(of_volume, lock);
            let Some(session) = session else {
                return waiting.await;
            };
            return tokio::select! {
                locked = waiting => locked,
                () = session.interrupted() => Err(Errno::Intr),
            };
        }
        (GET, None) => None,
        (SET | SET_AND_WAIT, None) => return Ok(()),
        _ => return Err(Errno::Inval),
    };
    let mut answer = [0; FLOCK];
    answer.copy_from_slice(record);
    match found {
        None => answer[0..2].copy_from_slice(&2_i16.to_le_bytes()),
        Some(lock) => {
            let kind: i16 = i16::from(lock.kind == RecordLockKind::Write);
            answer[0..2].copy_from_slice(&kind.to_le_bytes());
            answer[2..4].copy_from_slice(&0_i16.to_le_bytes());
            answer[8..16].copy_from_slice(&lock.start.to_le_bytes());
            answer[16..24].copy_from_slice(&lock.length.to_le_bytes());
            // The kernel does not know which dyno it is, as for all locks of descriptions.
            answer[24..28].copy_from_slice(&(-1_i32).to_le_bytes());
        }
    }
    store(memory, at, &answer).ok_or(Errno::Fault)
}

/// Reads the guest's `struct flock`, whose range may start at the position or the end of the file.
fn requested(file: &Arc<OpenFile>, record: &[u8]) -> Result<RecordLock, Errno> {
    let short = |at: usize| i16::from_le_bytes([record[at], record[at + 1]]);
    let long = |at: usize| {
        let bytes = record[at..].first_chunk().copied();
        i64::from_le_bytes(bytes.unwrap_or_default())
    };
    let kind = match short(0) {
        0 => RecordLockKind::Read,
        1 => RecordLockKind::Write,
        2 => RecordLockKind::Unlock,
        _ => return Err(Errno::Inval),
    };
    let base = match short(2) {
        0 => 0,
        1 => file.position(),
        2 => file.length(),
        _ => return Err(Errno::Inval),
    };
    let base = i64::try_from(base).map_err(|_| Errno::Overflow)?;
    Ok(RecordLock {
        kind,
        start: base.checked_add(long(8)).ok_or(Errno::Overflow)?,
        length: long(16),
    })
}
