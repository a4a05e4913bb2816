//! Further descriptors of what a descriptor stands for: dup(2), dup2(2) and `F_DUPFD` of fcntl(2).

use corundum_abi::EXCHANGE_DESCRIPTOR;
use wasi_common::snapshots::preview_1::types::Errno;

use super::FIRST_DIRECTORY;
use super::descriptors::{MAX_DESCRIPTOR, free_descriptor};
use super::operations::Opened;
use crate::console::streams;
use crate::guest_state::GuestState;

/// Makes the lowest free descriptor that is not below `least` another one of what `fd` stands for.
///
/// # Errors
///
/// `EBADF` if `fd` is not open, `EMFILE` if all descriptors are.
pub(super) fn duplicate(state: &mut GuestState, fd: u32, least: u32) -> Result<u32, Errno> {
    let free = free_descriptor(&state.wasi, least.max(FIRST_DIRECTORY))?;
    duplicate_to(state, fd, free)?;
    Ok(free)
}

/// Makes `to` another descriptor of what `fd` stands for, in place of the one that it was.
///
/// # Errors
///
/// `EBADF` if `fd` is not open, is a directory that was never opened, or if `to` is out of range.
pub(super) fn duplicate_to(state: &mut GuestState, fd: u32, to: u32) -> Result<(), Errno> {
    if to >= MAX_DESCRIPTOR || [fd, to].contains(&EXCHANGE_DESCRIPTOR) {
        return Err(Errno::Badf);
    }
    if !state.wasi.table().contains_key(fd) {
        return Err(Errno::Badf);
    }
    if fd == to {
        return Ok(());
    }
    if let Some(number) = state.standard_stream(fd) {
        state.network.closed(to.cast_signed());
        let copy = Opened::StandardStream(number);
        state.files.replace(&state.wasi, to, copy);
        if let Some(session) = &state.session {
            streams::insert(session, &state.wasi, to, number);
        }
    } else if state.network.duplicate(&state.wasi, fd, to) {
        state.files.closed(to);
    } else {
        let opened = state.files.opened(fd).ok_or(Errno::Badf)?;
        state.network.closed(to.cast_signed());
        state.files.replace(&state.wasi, to, opened);
    }
    Ok(())
}

/// Closes a standard stream, which is then what it was at the start: a descriptor below 3 is always open.
pub(crate) fn restore_standard_stream(state: &mut GuestState, fd: u32) {
    if state.standard_stream(fd) == Some(fd) {
        return;
    }
    state.network.closed(fd.cast_signed());
    state.files.closed(fd);
    match &state.session {
        Some(session) => streams::insert(session, &state.wasi, fd, fd),
        None => super::standard_stream::insert(&state.wasi, fd, fd),
    }
}
