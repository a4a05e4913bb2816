//! WASI preview 1 for dynos: the functions of `wasi-common` bound to the engine's linker, and shorter paths for the
//! frequent ones.

use corundum_abi::EXCHANGE_DESCRIPTOR;
use wasi_common::snapshots::preview_1::types::Errno;
use wasi_common::snapshots::preview_1::wasi_snapshot_preview1 as preview1;
use wasmtime::{Caller, Linker};
use wiggle::GuestMemory;

use crate::guest_state::{Exit, GuestState};
use crate::os;
use crate::preemption::set_interrupt_flag;
use crate::volume::SyncKind;

/// Import module of the functions.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// Maximum number of buffers in one read or write, as Linux's `IOV_MAX`.
const MAX_BUFFERS: i32 = 1024;

/// Maximum number of events that one call waits for: all descriptors that may be open, and clocks.
const MAX_SUBSCRIPTIONS: i32 = 2048;
/// Bytes of the log that one call accepts, as a pipe accepts a part of a large write. Each byte may be a line, and no
/// time slice ends while the host passes them on.
const LOG_WRITE: usize = 4096;

pub(crate) type Result<T> = wasmtime::Result<T>;

/// Returns the guest's memory and the dyno's state.
pub(crate) fn guest<'a>(
    caller: &'a mut Caller<'_, GuestState>,
) -> Result<(&'a mut [u8], &'a mut GuestState)> {
    let memory = caller
        .data()
        .memory
        .ok_or_else(|| wasmtime::Error::msg("the guest has no memory"))?;
    Ok(memory.data_and_store_mut(caller))
}

/// Converts a trap of `wasi-common` into one of the engine; `proc_exit` becomes [`Exit`].
fn trap(
    error: impl std::fmt::Debug + Into<Box<dyn std::error::Error + Send + Sync>>,
) -> wasmtime::Error {
    let error: Box<dyn std::error::Error + Send + Sync> = error.into();
    match error.downcast_ref::<wasi_common::I32Exit>() {
        Some(exit) => wasmtime::Error::new(Exit(exit.0)),
        None => wasmtime::Error::msg(error.to_string()),
    }
}

macro_rules! bind {
    ($linker:ident: $($name:ident($($argument:ident: $type:ty),*);)*) => {$(
        $linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, GuestState>, ($($argument,)*): ($($type,)*)| {
                Box::new(async move {
                    let (memory, state) = guest(&mut caller)?;
                    let mut memory = GuestMemory::Unshared(memory);
                    preview1::$name(&mut state.wasi, &mut memory, $($argument),*).await.map_err(trap)
                })
            },
        )?;
    )*};
}

/// Binds functions that take an array of buffers. Its length is limited, because the array is copied to host memory.
macro_rules! bind_vectored {
    ($linker:ident: $($name:ident),*) => {$(
        $linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, GuestState>,
             (fd, buffers, count, offset, result): (i32, i32, i32, i64, i32)| {
                Box::new(async move {
                    if !(0..=MAX_BUFFERS).contains(&count) {
                        return Ok(Errno::Inval as i32);
                    }
                    let (memory, state) = guest(&mut caller)?;
                    let mut memory = GuestMemory::Unshared(memory);
                    let done = preview1::$name(
                        &mut state.wasi, &mut memory, fd, buffers, count, offset, result,
                    );
                    done.await.map_err(trap)
                })
            },
        )?;
    )*};
}

/// Defines all functions that a dyno may import.
///
/// # Errors
///
/// Fails if a name is defined twice, which is a mistake in this function.
pub(crate) fn define_host_functions(linker: &mut Linker<GuestState>) -> Result<()> {
    bind! { linker:
        args_get(argv: i32, buffer: i32);
        args_sizes_get(count: i32, size: i32);
        environ_get(environ: i32, buffer: i32);
        environ_sizes_get(count: i32, size: i32);
        clock_res_get(clock: i32, result: i32);
        fd_advise(fd: i32, offset: i64, length: i64, advice: i32);
        fd_fdstat_get(fd: i32, result: i32);
        fd_fdstat_set_flags(fd: i32, flags: i32);
        fd_fdstat_set_rights(fd: i32, base: i64, inheriting: i64);
        fd_filestat_set_size(fd: i32, size: i64);
        fd_filestat_set_times(fd: i32, accessed: i64, modified: i64, flags: i32);
        fd_prestat_get(fd: i32, result: i32);
        fd_prestat_dir_name(fd: i32, path: i32, length: i32);
        fd_seek(fd: i32, offset: i64, whence: i32, result: i32);
        fd_tell(fd: i32, result: i32);
        proc_raise(signal: i32);
        random_get(buffer: i32, length: i32);
        sched_yield();
        sock_accept(fd: i32, flags: i32, result: i32);
        sock_recv(fd: i32, buffers: i32, count: i32, flags: i32, result: i32, result_flags: i32);
        sock_send(fd: i32, buffers: i32, count: i32, flags: i32, result: i32);
        sock_shutdown(fd: i32, how: i32);
    }
    bind_vectored! { linker: fd_pread, fd_pwrite }
    linker.func_wrap(MODULE, "proc_exit", |status: i32| -> Result<()> {
        Err(wasmtime::Error::new(Exit(status)))
    })?;
    add_clock(linker)?;
    add_streams(linker)?;
    add_storage(linker)?;
    add_descriptors(linker)
}

/// Defines `clock_time_get` without `wasi-common`, because interpreters call it more often than any other function.
fn add_clock(linker: &mut Linker<GuestState>) -> Result<()> {
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |mut caller: Caller<'_, GuestState>,
         clock: i32,
         _precision: i64,
         result: i32|
         -> Result<i32> {
            let (memory, state) = guest(&mut caller)?;
            let time = match clock {
                0 => std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .map_or(0, |since| {
                        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
                    }),
                1 => os::monotonic_now(),
                2 | 3 => state.cpu.nanoseconds(),
                _ => return Ok(Errno::Inval as i32),
            };
            Ok(status(store(memory, result, &time.to_le_bytes())))
        },
    )?;
    Ok(())
}

/// Defines reads and writes: those of requests and responses go to [`crate::stdio`], writes to the log to
/// [`crate::log`], and all others to the table of descriptors.
fn add_streams(linker: &mut Linker<GuestState>) -> Result<()> {
    linker.func_wrap_async(
        MODULE,
        "fd_write",
        |mut caller: Caller<'_, GuestState>, (fd, buffers, count, result): (i32, i32, i32, i32)| {
            Box::new(async move {
                let (memory, state) = guest(&mut caller)?;
                if !(0..=MAX_BUFFERS).contains(&count) {
                    return Ok(Errno::Inval as i32);
                }
                let is_response = state.is_response(fd.cast_unsigned());
                if !is_response && !state.is_log(fd.cast_unsigned()) {
                    let mut memory = GuestMemory::Unshared(memory);
                    let written = preview1::fd_write(
                        &mut state.wasi,
                        &mut memory,
                        fd,
                        buffers,
                        count,
                        result,
                    );
                    let errno = written.await.map_err(trap)?;
                    return Ok(interruptible(&mut caller, errno));
                }
                let mut total = 0usize;
                for index in 0..count {
                    let Some(bytes) = buffer(memory, buffers, index) else {
                        return Ok(Errno::Fault as i32);
                    };
                    let mut bytes = &memory[bytes];
                    if !is_response {
                        bytes = &bytes[..bytes.len().min(LOG_WRITE - total)];
                        state.log.write(bytes);
                    } else if let Err(errno) = state.output.write(bytes).await {
                        return Ok(errno as i32);
                    }
                    total += bytes.len();
                    if !is_response && total == LOG_WRITE {
                        break;
                    }
                }
                Ok(status(store(memory, result, &(total as u32).to_le_bytes())))
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_read",
        |mut caller: Caller<'_, GuestState>, (fd, buffers, count, result): (i32, i32, i32, i32)| {
            Box::new(async move {
                let (memory, state) = guest(&mut caller)?;
                if !(0..=MAX_BUFFERS).contains(&count) {
                    return Ok(Errno::Inval as i32);
                }
                let is_request = state.is_request(fd.cast_unsigned());
                if !is_request && state.is_empty_input(fd.cast_unsigned()) {
                    return Ok(status(store(memory, result, &0u32.to_le_bytes())));
                }
                if !is_request {
                    let mut memory = GuestMemory::Unshared(memory);
                    let read =
                        preview1::fd_read(&mut state.wasi, &mut memory, fd, buffers, count, result);
                    let errno = read.await.map_err(trap)?;
                    return Ok(interruptible(&mut caller, errno));
                }
                let mut read = 0;
                // A read may return fewer bytes than requested, so only the first non-empty buffer is filled.
                for index in 0..count {
                    let Some(bytes) = buffer(memory, buffers, index) else {
                        return Ok(Errno::Fault as i32);
                    };
                    if bytes.is_empty() {
                        continue;
                    }
                    if !state.input.is_ready() {
                        state.output.flush_now();
                    }
                    match state.input.read(&mut memory[bytes]).await {
                        Ok(length) => read = length,
                        Err(errno) => return Ok(errno as i32),
                    }
                    break;
                }
                Ok(status(store(memory, result, &(read as u32).to_le_bytes())))
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "poll_oneoff",
        |mut caller: Caller<'_, GuestState>,
         (subscriptions, events, count, result): (i32, i32, i32, i32)| {
            Box::new(async move {
                if !(0..=MAX_SUBSCRIPTIONS).contains(&count) {
                    return Ok(Errno::Inval as i32);
                }
                let (memory, state) = guest(&mut caller)?;
                state.output.flush_now();
                let session = state.session.clone();
                let mut memory = GuestMemory::Unshared(memory);
                let polled = preview1::poll_oneoff(
                    &mut state.wasi,
                    &mut memory,
                    subscriptions,
                    events,
                    count,
                    result,
                );
                let Some(session) = session else {
                    return polled.await.map_err(trap);
                };
                let errno = tokio::select! {
                    polled = polled => polled.map_err(trap)?,
                    () = session.interrupted() => Errno::Intr as i32,
                };
                Ok(interruptible(&mut caller, errno))
            })
        },
    )?;
    Ok(())
}

/// Makes the guest look for signals after a call that one has interrupted. Returns the call's result.
fn interruptible(caller: &mut Caller<'_, GuestState>, errno: i32) -> i32 {
    if errno == Errno::Intr as i32 {
        set_interrupt_flag(caller);
    }
    errno
}

/// Defines the functions that concern the disk: for files and directories of a volume, and for all others those of `wasi-common`,
/// which do nothing.
fn add_storage(linker: &mut Linker<GuestState>) -> Result<()> {
    macro_rules! sync {
        ($name:ident, $kind:expr) => {
            linker.func_wrap_async(
                MODULE,
                stringify!($name),
                |mut caller: Caller<'_, GuestState>, (fd,): (i32,)| {
                    Box::new(async move {
                        let (memory, state) = guest(&mut caller)?;
                        if let Some(synced) = state.files.sync(fd.cast_unsigned(), $kind).await {
                            return Ok(synced.err().map_or(0, |errno| errno as i32));
                        }
                        let mut memory = GuestMemory::Unshared(memory);
                        let done = preview1::$name(&mut state.wasi, &mut memory, fd);
                        done.await.map_err(trap)
                    })
                },
            )?;
        };
    }
    sync!(fd_sync, SyncKind::All);
    sync!(fd_datasync, SyncKind::Data);
    linker.func_wrap_async(
        MODULE,
        "fd_allocate",
        |mut caller: Caller<'_, GuestState>, (fd, offset, length): (i32, i64, i64)| {
            Box::new(async move {
                let (memory, state) = guest(&mut caller)?;
                let (from, size) = (offset.cast_unsigned(), length.cast_unsigned());
                if let Some(allocated) = state.files.allocate(fd.cast_unsigned(), from, size) {
                    return Ok(allocated.err().map_or(0, |errno| errno as i32));
                }
                let mut memory = GuestMemory::Unshared(memory);
                let done = preview1::fd_allocate(&mut state.wasi, &mut memory, fd, offset, length);
                done.await.map_err(trap)
            })
        },
    )?;
    Ok(())
}

/// Defines the functions that close and renumber descriptors, of which files and directories are known in
/// [`os::Descriptors`] too, and the one that describes them. The standard streams and the exchange keep their numbers.
fn add_descriptors(linker: &mut Linker<GuestState>) -> Result<()> {
    linker.func_wrap_async(
        MODULE,
        "fd_filestat_get",
        |mut caller: Caller<'_, GuestState>, (fd, result): (i32, i32)| {
            Box::new(async move {
                let (memory, state) = guest(&mut caller)?;
                match state.files.status(fd.cast_unsigned()) {
                    Some(Ok(found)) => Ok(status(store(memory, result, &found.to_wasi()))),
                    Some(Err(errno)) => Ok(errno as i32),
                    None => {
                        let mut memory = GuestMemory::Unshared(memory);
                        let stat =
                            preview1::fd_filestat_get(&mut state.wasi, &mut memory, fd, result);
                        stat.await.map_err(trap)
                    }
                }
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_close",
        |mut caller: Caller<'_, GuestState>, (fd,): (i32,)| {
            Box::new(async move {
                let (memory, state) = guest(&mut caller)?;
                if matches!(fd, 0..=2) {
                    os::restore_standard_stream(state, fd.cast_unsigned());
                    return Ok(Errno::Success as i32);
                }
                if fd.cast_unsigned() == EXCHANGE_DESCRIPTOR {
                    return Ok(Errno::Success as i32);
                }
                let mut memory = GuestMemory::Unshared(memory);
                state.network.closed(fd);
                state.files.closed(fd.cast_unsigned());
                preview1::fd_close(&mut state.wasi, &mut memory, fd)
                    .await
                    .map_err(trap)
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_renumber",
        |mut caller: Caller<'_, GuestState>, (from, to): (i32, i32)| {
            Box::new(async move {
                let keeps =
                    |fd: i32| matches!(fd, 0..=2) || fd.cast_unsigned() == EXCHANGE_DESCRIPTOR;
                if keeps(from) || keeps(to) {
                    return Ok(Errno::Notsup as i32);
                }
                let (memory, state) = guest(&mut caller)?;
                let mut memory = GuestMemory::Unshared(memory);
                let renumbered =
                    preview1::fd_renumber(&mut state.wasi, &mut memory, from, to).await;
                let errno = renumbered.map_err(trap)?;
                if errno == Errno::Success as i32 && from != to {
                    state.network.renumbered(from, to);
                    let (from, to) = (from.cast_unsigned(), to.cast_unsigned());
                    state.files.renumbered(from, to);
                }
                Ok(errno)
            })
        },
    )?;
    Ok(())
}

/// Returns the range of the `index`th buffer of an `iovec` array, or `None` if it exceeds the memory.
fn buffer(memory: &[u8], buffers: i32, index: i32) -> Option<std::ops::Range<usize>> {
    let at = (buffers as u32).checked_add(8 * index as u32)?;
    let start = load(memory, at as i32)? as usize;
    let length = load(memory, at.checked_add(4)? as i32)? as usize;
    let end = start.checked_add(length)?;
    (end <= memory.len()).then_some(start..end)
}

fn load(memory: &[u8], at: i32) -> Option<u32> {
    let at = at as u32 as usize;
    let bytes = memory.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Writes bytes to the guest's memory. Returns `None` if they exceed it.
pub(crate) fn store(memory: &mut [u8], at: i32, bytes: &[u8]) -> Option<()> {
    let at = at as u32 as usize;
    memory
        .get_mut(at..at.checked_add(bytes.len())?)?
        .copy_from_slice(bytes);
    Some(())
}

fn status(stored: Option<()>) -> i32 {
    match stored {
        Some(()) => Errno::Success as i32,
        None => Errno::Fault as i32,
    }
}
