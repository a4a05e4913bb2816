//! The guest's calls that concern paths, directories and attributes of files: those of WASI preview 1, and those of the
//! import module [`MODULE`], which C libraries need and WASI lacks.
//!
//! Names are bytes, as on Linux; `wasi-common` would refuse those that are not UTF-8.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cap_std::time::SystemTime as CapTime;
use wasi_common::SystemTimeSpec;
use wasi_common::file::{FdFlags, FileAccessMode, FileType};
use wasi_common::snapshots::preview_1::types::Errno;
use wasmtime::{Caller, Linker};

use super::directory::ListedEntry;
use super::duplicate;
use super::locks::LockKind;
use super::operations::OpenRequest;
use super::record_locks;
use super::tree::{FileStatus, LastLink, type_number};
use crate::guest_state::GuestState;
use crate::wasi::{self, guest, store};

/// Import module of the calls that WASI lacks.
pub(crate) const MODULE: &str = "corundum_posix";

/// Permission bits of a new file and a new directory whose creator names none.
const FILE_MODE: u16 = 0o644;
const DIRECTORY_MODE: u16 = 0o755;

/// `LOOKUPFLAGS_SYMLINK_FOLLOW` of WASI.
const FOLLOW: i32 = 1;

type CallResult<T> = Result<T, Errno>;

/// Returns the bytes of a path in the guest's memory.
fn path(memory: &[u8], at: i32, length: i32) -> CallResult<&[u8]> {
    let start = at as u32 as usize;
    let end = start.checked_add(length as u32 as usize);
    memory
        .get(start..end.ok_or(Errno::Fault)?)
        .ok_or(Errno::Fault)
}

fn last_link(flags: i32) -> LastLink {
    if flags & FOLLOW == 0 {
        LastLink::Keep
    } else {
        LastLink::Follow
    }
}

fn put(memory: &mut [u8], at: i32, bytes: &[u8]) -> CallResult<()> {
    store(memory, at, bytes).ok_or(Errno::Fault)
}

/// Makes a call and returns its `errno`, 0 for success.
fn status_of(call: impl FnOnce() -> CallResult<()>) -> i32 {
    call().err().map_or(0, |errno| errno as i32)
}

/// Defines calls whose body returns an `errno` as the error of a [`CallResult`].
macro_rules! calls {
    ($linker:ident, $module:expr, $($name:ident |$memory:ident, $state:ident, $($argument:ident: $type:ty),*| $body:block)*) => {$(
        $linker.func_wrap(
            $module,
            stringify!($name),
            |mut caller: Caller<'_, GuestState>, $($argument: $type),*| -> wasi::Result<i32> {
                let ($memory, $state) = guest(&mut caller)?;
                Ok(status_of(|| -> CallResult<()> { $body }))
            },
        )?;
    )*};
}

/// Defines the calls.
///
/// # Errors
///
/// Fails if a name is defined twice, which is a mistake in this function.
pub(crate) fn define(linker: &mut Linker<GuestState>) -> wasi::Result<()> {
    define_paths(linker)?;
    define_attributes(linker)?;
    define_posix(linker)?;
    record_locks::define(linker)
}

fn define_paths(linker: &mut Linker<GuestState>) -> wasi::Result<()> {
    calls! { linker, wasi::MODULE,
        path_open |memory, state, fd: i32, look_up: i32, name: i32, length: i32, oflags: i32, base: i64, _inheriting: i64,
                   flags: i32, result: i32| {
            let mut access = FileAccessMode::empty();
            access.set(FileAccessMode::READ, base & (1 << 1) != 0);
            access.set(FileAccessMode::WRITE, base & (1 << 6) != 0);
            let request = OpenRequest {
                access,
                create: oflags & 1 != 0,
                directory: oflags & 2 != 0,
                exclusive: oflags & 4 != 0,
                truncate: oflags & 8 != 0,
                follow: look_up & FOLLOW != 0,
                flags: FdFlags::from_bits_truncate(flags.cast_unsigned()),
                mode: FILE_MODE,
            };
            let name = path(memory, name, length)?;
            let opened = state.files.open(&state.wasi, fd.cast_unsigned(), name, request)?;
            put(memory, result, &opened.to_le_bytes())
        }
        path_create_directory |memory, state, fd: i32, name: i32, length: i32| {
            let (name, files) = (path(memory, name, length)?, &state.files);
            let trail = files.trail(fd.cast_unsigned())?;
            files.filesystem().make_directory(trail, name, DIRECTORY_MODE)
        }
        path_remove_directory |memory, state, fd: i32, name: i32, length: i32| {
            let (name, files) = (path(memory, name, length)?, &state.files);
            files.filesystem().remove_directory(files.trail(fd.cast_unsigned())?, name)
        }
        path_unlink_file |memory, state, fd: i32, name: i32, length: i32| {
            let (name, files) = (path(memory, name, length)?, &state.files);
            files.filesystem().unlink(files.trail(fd.cast_unsigned())?, name)
        }
        path_symlink |memory, state, target: i32, target_length: i32, fd: i32, name: i32, length: i32| {
            let (target, name) = (path(memory, target, target_length)?, path(memory, name, length)?);
            let files = &state.files;
            files.filesystem().symlink(target, files.trail(fd.cast_unsigned())?, name)
        }
        path_link |memory, state, fd: i32, flags: i32, old: i32, old_length: i32, new_fd: i32, new: i32, new_length: i32| {
            let (old, new) = (path(memory, old, old_length)?, path(memory, new, new_length)?);
            let files = &state.files;
            let from = (files.trail(fd.cast_unsigned())?, old);
            let to = (files.trail(new_fd.cast_unsigned())?, new);
            files.filesystem().link(from, last_link(flags), to)
        }
        path_rename |memory, state, fd: i32, old: i32, old_length: i32, new_fd: i32, new: i32, new_length: i32| {
            let (old, new) = (path(memory, old, old_length)?, path(memory, new, new_length)?);
            let files = &state.files;
            let from = (files.trail(fd.cast_unsigned())?, old);
            let to = (files.trail(new_fd.cast_unsigned())?, new);
            files.filesystem().rename(from, to)
        }
        path_readlink |memory, state, fd: i32, name: i32, length: i32, buffer: i32, size: i32, result: i32| {
            let (name, files) = (path(memory, name, length)?, &state.files);
            let target = files.filesystem().read_link(files.trail(fd.cast_unsigned())?, name)?;
            let shown = &target[..target.len().min(size.cast_unsigned() as usize)];
            put(memory, buffer, shown)?;
            put(memory, result, &(shown.len() as u32).to_le_bytes())
        }
        fd_readdir |memory, state, fd: i32, buffer: i32, length: i32, cookie: i64, result: i32| {
            let directory = state.files.directory(fd.cast_unsigned())?;
            let start = usize::try_from(cookie.cast_unsigned()).unwrap_or(usize::MAX);
            let at = buffer.cast_unsigned() as usize;
            let end = at.checked_add(length.cast_unsigned() as usize).ok_or(Errno::Fault)?;
            let buffer = memory.get_mut(at..end).ok_or(Errno::Fault)?;
            let mut used = 0;
            let mut next = start as u64;
            directory.read(start, |entry| {
                next += 1;
                let record = [&dirent(entry, next)[..], &entry.name].concat();
                // A record that does not fit is cut off, which tells the C library that there is more.
                let part = &record[..record.len().min(buffer.len() - used)];
                buffer[used..used + part.len()].copy_from_slice(part);
                used += part.len();
                part.len() == record.len()
            })?;
            put(memory, result, &(used as u32).to_le_bytes())
        }
    }
    Ok(())
}

fn define_attributes(linker: &mut Linker<GuestState>) -> wasi::Result<()> {
    calls! { linker, wasi::MODULE,
        path_filestat_get |memory, state, fd: i32, flags: i32, name: i32, length: i32, result: i32| {
            let (name, files) = (path(memory, name, length)?, &state.files);
            let trail = files.trail(fd.cast_unsigned())?;
            let status = files.filesystem().status_of(trail, name, last_link(flags))?;
            put(memory, result, &status.to_wasi())
        }
        path_filestat_set_times |memory, state, fd: i32, flags: i32, name: i32, length: i32, accessed: i64, modified: i64,
                                 which: i32| {
            let (accessed, modified) = times(accessed, modified, which)?;
            let (name, files) = (path(memory, name, length)?, &state.files);
            let trail = files.trail(fd.cast_unsigned())?;
            files.filesystem().set_times(trail, name, last_link(flags), accessed, modified)
        }
    }
    Ok(())
}

fn define_posix(linker: &mut Linker<GuestState>) -> wasi::Result<()> {
    calls! { linker, MODULE,
        open |memory, state, name: i32, length: i32, flags: i32, mode: i32, result: i32| {
            let request = open_request(flags, mode)?;
            let name = path(memory, name, length)?;
            let opened = state.files.open(&state.wasi, super::FIRST_DIRECTORY, name, request)?;
            put(memory, result, &opened.to_le_bytes())
        }
        make_directory |memory, state, name: i32, length: i32, mode: i32| {
            let (name, files) = (path(memory, name, length)?, &state.files);
            let trail = files.trail(super::FIRST_DIRECTORY)?;
            files.filesystem().make_directory(trail, name, mode as u16)
        }
        status |memory, state, fd: i32, name: i32, length: i32, follow: i32, result: i32| {
            let (name, files) = (path(memory, name, length)?, &state.files);
            let trail = files.trail(fd.cast_unsigned())?;
            let status = files.filesystem().status_of(trail, name, last_link(follow))?;
            put(memory, result, &posix_status(&status))
        }
        fd_status |memory, state, fd: i32, result: i32| {
            // The caller asks WASI about other descriptors.
            let status = state.files.status(fd.cast_unsigned()).ok_or(Errno::Nosys)??;
            put(memory, result, &posix_status(&status))
        }
        set_mode |memory, state, name: i32, length: i32, follow: i32, mode: i32| {
            let (name, files) = (path(memory, name, length)?, &state.files);
            let trail = files.trail(super::FIRST_DIRECTORY)?;
            files.filesystem().set_mode(trail, name, last_link(follow), mode as u16)
        }
        fd_set_mode |_memory, state, fd: i32, mode: i32| {
            state.files.set_mode(fd.cast_unsigned(), mode as u16)
        }
        lock |_memory, state, fd: i32, kind: i32| {
            let kind = match kind {
                0 => None,
                1 => Some(LockKind::Shared),
                2 => Some(LockKind::Exclusive),
                _ => return Err(Errno::Inval),
            };
            state.files.lock(fd.cast_unsigned(), kind)
        }
        duplicate |memory, state, fd: i32, least: i32, result: i32| {
            let copy = duplicate::duplicate(state, fd.cast_unsigned(), least.cast_unsigned())?;
            put(memory, result, &copy.to_le_bytes())
        }
        duplicate_to |_memory, state, fd: i32, to: i32| {
            duplicate::duplicate_to(state, fd.cast_unsigned(), to.cast_unsigned())
        }
        real_directory |memory, state, name: i32, length: i32, buffer: i32, size: i32, result: i32| {
            let (name, files) = (path(memory, name, length)?, &state.files);
            let trail = files.trail(super::FIRST_DIRECTORY)?;
            let real = files.filesystem().real_directory(trail, name)?;
            if real.len() > size.cast_unsigned() as usize {
                return Err(Errno::Range);
            }
            put(memory, buffer, &real)?;
            put(memory, result, &(real.len() as u32).to_le_bytes())
        }
    }
    Ok(())
}

/// Reads the flags of open(2) with Linux's numbers.
fn open_request(flags: i32, mode: i32) -> CallResult<OpenRequest> {
    let has = |flag: i32| flags & flag != 0;
    let access = match flags & 3 {
        0 => FileAccessMode::READ,
        1 => FileAccessMode::WRITE,
        2 => FileAccessMode::READ | FileAccessMode::WRITE,
        _ => return Err(Errno::Inval),
    };
    let mut kept = FdFlags::empty();
    kept.set(FdFlags::APPEND, has(0o2000));
    kept.set(FdFlags::NONBLOCK, has(0o4000));
    kept.set(FdFlags::DSYNC, has(0o10_000));
    kept.set(FdFlags::SYNC, has(0o4_000_000));
    Ok(OpenRequest {
        access,
        create: has(0o100),
        exclusive: has(0o200),
        truncate: has(0o1000),
        directory: has(0o200_000),
        follow: !has(0o400_000),
        flags: kept,
        mode: mode as u16,
    })
}

/// Reads the times of `*_filestat_set_times`.
fn times(
    accessed: i64,
    modified: i64,
    which: i32,
) -> CallResult<(Option<SystemTimeSpec>, Option<SystemTimeSpec>)> {
    let time = |nanoseconds: i64, set: bool, now: bool| match (set, now) {
        (true, true) => Err(Errno::Inval),
        (true, false) => {
            let since = Duration::from_nanos(nanoseconds.cast_unsigned());
            let time: SystemTime = UNIX_EPOCH.checked_add(since).ok_or(Errno::Inval)?;
            Ok(Some(SystemTimeSpec::Absolute(CapTime::from_std(time))))
        }
        (false, true) => Ok(Some(SystemTimeSpec::SymbolicNow)),
        (false, false) => Ok(None),
    };
    Ok((
        time(accessed, which & 1 != 0, which & 2 != 0)?,
        time(modified, which & 4 != 0, which & 8 != 0)?,
    ))
}

/// Returns the type's bits in `st_mode`.
fn type_bits(kind: FileType) -> u32 {
    match kind {
        FileType::BlockDevice => 0o060_000,
        FileType::CharacterDevice => 0o020_000,
        FileType::Directory => 0o040_000,
        FileType::RegularFile => 0o100_000,
        FileType::SymbolicLink => 0o120_000,
        FileType::SocketDgram | FileType::SocketStream => 0o140_000,
        FileType::Pipe => 0o010_000,
        FileType::Unknown => 0,
    }
}

/// Returns WASI's `dirent`, without the name.
fn dirent(entry: &ListedEntry, next: u64) -> [u8; 24] {
    let mut record = [0; 24];
    record[..8].copy_from_slice(&next.to_le_bytes());
    record[8..16].copy_from_slice(&entry.inode.to_le_bytes());
    record[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
    record[20] = type_number(entry.kind);
    record
}

/// Returns `struct dyno_status` of `sdk/ruby/mri/posix/files.c`.
fn posix_status(status: &FileStatus) -> [u8; 64] {
    let mut record = [0; 64];
    let [accessed, modified, changed] =
        [status.accessed, status.modified, status.changed].map(i64::cast_unsigned);
    for (at, value) in [
        (0, status.inode),
        (8, u64::from(status.links)),
        (16, status.size),
        (24, accessed),
        (32, modified),
        (40, changed),
    ] {
        record[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    let mode = type_bits(status.kind) | u32::from(status.mode);
    for (at, value) in [
        (48, mode),
        (52, status.owner),
        (56, status.owner),
        (60, status.device),
    ] {
        record[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    record
}
