//! Functions that a guest imports to receive signals and to control its terminal.
//!
//! `sdk/ruby/mri/console/termios.h` and `sdk/ruby/ext/dyno.c` declare them. Results are WASI's numbers of errors.

use std::sync::Arc;

use corundum_abi::run_stream::WindowSize;
use wasi_common::snapshots::preview_1::types::Errno;
use wasmtime::{Caller, Linker, Memory};

use super::line_discipline::TerminalAttributes;
use super::session::RunSession;
use super::streams;
use crate::guest_state::GuestState;

/// Import module of the functions.
pub(crate) const MODULE: &str = "console";

/// Name of the function that returns the signals. A guest that imports it handles them.
pub(crate) const SIGNALS: &str = "signals";

/// `TCSAFLUSH`: discard the unread input.
const DISCARD: i32 = 2;
/// `TCOFLUSH`: discard the output, which is on its way already.
const FLUSH_OUTPUT: i32 = 1;
/// Bytes of `struct winsize`.
const WINDOW_SIZE: usize = 8;

/// Defines the functions.
///
/// # Errors
///
/// Fails if a name is defined twice, which is a mistake in this function.
pub(crate) fn define_host_functions(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, SIGNALS, |caller: Caller<'_, GuestState>| -> u64 {
        let session = caller.data().session.as_ref();
        session.map_or(0, |session| session.take_signals())
    })?;
    linker.func_wrap(
        MODULE,
        "get_attributes",
        |mut caller: Caller<'_, GuestState>, fd: i32, at: i32| {
            let result = terminal(&mut caller, fd).and_then(|session| {
                let attributes = session.attributes().ok_or(Errno::Notty)?;
                store(&mut caller, at, &attributes)
            });
            number(result)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "set_attributes",
        |mut caller: Caller<'_, GuestState>, fd: i32, action: i32, at: i32| {
            let result = terminal(&mut caller, fd).and_then(|session| {
                let attributes: [u8; TerminalAttributes::SIZE] = load(&mut caller, at)?;
                let set = session.set_attributes(&attributes, action == DISCARD);
                set.ok_or(Errno::Notty)
            });
            number(result)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "get_size",
        |mut caller: Caller<'_, GuestState>, fd: i32, at: i32| {
            let result = terminal(&mut caller, fd).and_then(|session| {
                let size = session.window_size().ok_or(Errno::Notty)?;
                let mut bytes = [0; WINDOW_SIZE];
                bytes[..2].copy_from_slice(&size.rows.to_le_bytes());
                bytes[2..4].copy_from_slice(&size.columns.to_le_bytes());
                store(&mut caller, at, &bytes)
            });
            number(result)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "set_size",
        |mut caller: Caller<'_, GuestState>, fd: i32, at: i32| {
            let result = terminal(&mut caller, fd).and_then(|session| {
                let bytes: [u8; WINDOW_SIZE] = load(&mut caller, at)?;
                session.resize(WindowSize {
                    rows: u16::from_le_bytes([bytes[0], bytes[1]]),
                    columns: u16::from_le_bytes([bytes[2], bytes[3]]),
                });
                Ok(())
            });
            number(result)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "flush",
        |mut caller: Caller<'_, GuestState>, fd: i32, queue: i32| {
            let result = terminal(&mut caller, fd).and_then(|session| match queue {
                FLUSH_OUTPUT => Ok(()),
                _ => session.discard_input().ok_or(Errno::Notty),
            });
            number(result)
        },
    )?;
    Ok(())
}

/// Returns the session whose terminal is open as `fd`.
fn terminal(caller: &mut Caller<'_, GuestState>, fd: i32) -> Result<Arc<RunSession>, Errno> {
    let state = caller.data_mut();
    let fd = u32::try_from(fd).map_err(|_| Errno::Badf)?;
    if !state.wasi.table().contains_key(fd) {
        return Err(Errno::Badf);
    }
    let session = state.session.clone().ok_or(Errno::Notty)?;
    match session.has_terminal() && streams::is_terminal(&mut state.wasi, fd) {
        true => Ok(session),
        false => Err(Errno::Notty),
    }
}

fn memory(caller: &Caller<'_, GuestState>) -> Result<Memory, Errno> {
    caller.data().memory.ok_or(Errno::Fault)
}

fn store(caller: &mut Caller<'_, GuestState>, at: i32, bytes: &[u8]) -> Result<(), Errno> {
    let memory = memory(caller)?;
    let at = at.cast_unsigned() as usize;
    let stored = memory.write(caller, at, bytes);
    stored.map_err(|_| Errno::Fault)
}

fn load<const SIZE: usize>(
    caller: &mut Caller<'_, GuestState>,
    at: i32,
) -> Result<[u8; SIZE], Errno> {
    let memory = memory(caller)?;
    let mut bytes = [0; SIZE];
    let at = at.cast_unsigned() as usize;
    memory
        .read(caller, at, &mut bytes)
        .map_err(|_| Errno::Fault)?;
    Ok(bytes)
}

fn number(result: Result<(), Errno>) -> i32 {
    match result {
        Ok(()) => Errno::Success as i32,
        Err(errno) => errno as i32,
    }
}
