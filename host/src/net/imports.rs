//! The functions that a guest imports for sockets, in a module of our own.
//!
//! Each returns an errno of WASI, 0 for success. Addresses are 20 bytes ([`super::address`]). Reading, writing, polling,
//! closing and the flag `O_NONBLOCK` are WASI's functions ([`crate::wasi`]).

use std::ops::Range;
use std::sync::Arc;

use wasi_common::snapshots::preview_1::types::Errno;
use wasmtime::{Caller, Linker};

use super::address::{self, Family};
use super::channel::channel;
use super::loopback::LocalStream;
use super::resolve::NameLookup;
use super::socket::{Datagrams, ReceiveMode, SOCK_DGRAM, SOCK_STREAM, Socket, SocketState};
use crate::guest_state::GuestState;
use crate::wasi::{guest, store};

/// Import module of the functions.
pub(crate) const MODULE: &str = "net";

/// Flags of messages, with Linux's numbers.
const MSG_OOB: i32 = 0x1;
const MSG_PEEK: i32 = 0x2;
const MSG_DONTWAIT: i32 = 0x40;
const MSG_WAITALL: i32 = 0x100;
const MSG_NOSIGNAL: i32 = 0x4000;

const SOCK_SEQPACKET: i32 = 5;

type Done = Result<(), Errno>;

macro_rules! bind {
    ($linker:ident: $($name:ident($($argument:ident: $type:ty),*);)*) => {$(
        $linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, GuestState>, ($($argument,)*): ($($type,)*)| {
                Box::new(async move {
                    let (memory, state) = guest(&mut caller)?;
                    Ok::<i32, wasmtime::Error>(match $name(memory, state, $($argument),*).await {
                        Ok(()) => Errno::Success as i32,
                        Err(errno) => errno as i32,
                    })
                })
            },
        )?;
    )*};
}

/// Defines the functions.
///
/// # Errors
///
/// Fails if a name is defined twice, which is a mistake in this function.
pub(crate) fn define_host_functions(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    bind! { linker:
        socket(family: i32, kind: i32, result: i32);
        bind(fd: i32, to: i32);
        listen(fd: i32, backlog: i32);
        accept(fd: i32, result: i32, from: i32);
        connect(fd: i32, to: i32);
        name(fd: i32, peer: i32, result: i32);
        receive(fd: i32, buffer: i32, size: i32, flags: i32, result: i32, from: i32);
        send(fd: i32, bytes: i32, size: i32, flags: i32, result: i32, to: i32);
        shutdown(fd: i32, how: i32);
        get_option(fd: i32, level: i32, name: i32, result: i32);
        set_option(fd: i32, level: i32, name: i32, value: i64);
        pair(kind: i32, result: i32);
        pipe(result: i32);
        resolve(name: i32, length: i32, result: i32);
    }
    Ok(())
}

fn put(memory: &mut [u8], at: i32, bytes: &[u8]) -> Done {
    store(memory, at, bytes).ok_or(Errno::Fault)
}

fn range(memory: &[u8], at: i32, size: i32) -> Result<Range<usize>, Errno> {
    let (start, size) = (at.cast_unsigned() as usize, size.cast_unsigned() as usize);
    let end = start.checked_add(size).ok_or(Errno::Fault)?;
    if end > memory.len() {
        return Err(Errno::Fault);
    }
    Ok(start..end)
}

/// Gives two sockets descriptors and writes those to the guest's memory; gives none if one fails.
fn insert_two(
    memory: &mut [u8],
    state: &mut GuestState,
    at: i32,
    sockets: [Arc<Socket>; 2],
) -> Done {
    range(memory, at, 8)?;
    for (place, socket) in [at, at.wrapping_add(4)].into_iter().zip(sockets) {
        let fd = state.network.insert(&state.wasi, socket)?;
        put(memory, place, &fd.to_le_bytes())?;
    }
    Ok(())
}

async fn socket(
    memory: &mut [u8],
    state: &mut GuestState,
    family: i32,
    kind: i32,
    result: i32,
) -> Done {
    range(memory, result, 4)?;
    // UNIX sockets have no paths in a dyno, only pairs.
    let family = Family::from_number(family).filter(|family| *family != Family::Unix);
    let family = family.ok_or(Errno::Afnosupport)?;
    let context = state.network.context();
    let new = Socket::new(context, family, SocketState::of_type(context, kind)?)?;
    let fd = state.network.insert(&state.wasi, new)?;
    put(memory, result, &fd.to_le_bytes())
}

async fn bind(memory: &mut [u8], state: &mut GuestState, fd: i32, to: i32) -> Done {
    let address = address::read(memory, to)?;
    state.network.socket(&state.wasi, fd)?.bind(address)
}

async fn listen(_memory: &mut [u8], state: &mut GuestState, fd: i32, backlog: i32) -> Done {
    state.network.socket(&state.wasi, fd)?.listen(backlog)
}

async fn accept(
    memory: &mut [u8],
    state: &mut GuestState,
    fd: i32,
    result: i32,
    from: i32,
) -> Done {
    range(memory, result, 4)?;
    range(memory, from, address::ADDRESS as i32)?;
    let listener = state.network.socket(&state.wasi, fd)?;
    let (accepted, peer) = listener.accept_waiting().await?;
    let fd = state.network.insert(&state.wasi, accepted)?;
    put(memory, from, &address::bytes(Some(peer)))?;
    put(memory, result, &fd.to_le_bytes())
}

async fn connect(memory: &mut [u8], state: &mut GuestState, fd: i32, to: i32) -> Done {
    let address = address::read(memory, to)?;
    let socket = state.network.socket(&state.wasi, fd)?;
    state.output.flush_now();
    socket.connect_waiting(address).await
}

async fn name(memory: &mut [u8], state: &mut GuestState, fd: i32, peer: i32, result: i32) -> Done {
    let socket = state.network.socket(&state.wasi, fd)?;
    let name = match peer {
        0 => socket.local_name(),
        _ => socket.peer_name()?,
    };
    put(memory, result, &address::bytes(Some(name)))
}

#[expect(
    clippy::too_many_arguments,
    reason = "the guest passes them one by one"
)]
async fn receive(
    memory: &mut [u8],
    state: &mut GuestState,
    fd: i32,
    buffer: i32,
    size: i32,
    flags: i32,
    result: i32,
    from: i32,
) -> Done {
    let known = MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL;
    if flags & MSG_OOB != 0 || flags & !known != 0 {
        return Err(Errno::Notsup);
    }
    range(memory, result, 4)?;
    range(memory, from, address::ADDRESS as i32)?;
    let buffer = range(memory, buffer, size)?;
    let socket = state.network.socket(&state.wasi, fd)?;
    state.output.flush_now();
    let mode = ReceiveMode {
        peek: flags & MSG_PEEK != 0,
        dont_wait: flags & MSG_DONTWAIT != 0,
    };
    let all = flags & MSG_WAITALL != 0 && !mode.peek && !socket.is_datagram();
    let (mut length, sender) = socket.read(&mut memory[buffer.clone()], mode).await?;
    while all && length > 0 && length < buffer.len() {
        let rest = buffer.start + length..buffer.end;
        match socket.read(&mut memory[rest], mode).await {
            Ok((0, _)) | Err(_) => break,
            Ok((more, _)) => length += more,
        }
    }
    put(memory, from, &address::bytes(sender))?;
    put(memory, result, &(length as u32).to_le_bytes())
}

#[expect(
    clippy::too_many_arguments,
    reason = "the guest passes them one by one"
)]
async fn send(
    memory: &mut [u8],
    state: &mut GuestState,
    fd: i32,
    bytes: i32,
    size: i32,
    flags: i32,
    result: i32,
    to: i32,
) -> Done {
    if flags & !(MSG_DONTWAIT | MSG_NOSIGNAL) != 0 {
        return Err(Errno::Notsup);
    }
    range(memory, result, 4)?;
    let bytes = range(memory, bytes, size)?;
    let to = match to {
        0 => None,
        to => Some(address::read(memory, to)?),
    };
    let socket = state.network.socket(&state.wasi, fd)?;
    let sent = socket
        .write(&memory[bytes], to, flags & MSG_DONTWAIT != 0)
        .await?;
    put(memory, result, &(sent as u32).to_le_bytes())
}

async fn shutdown(_memory: &mut [u8], state: &mut GuestState, fd: i32, how: i32) -> Done {
    let (read, write) = match how {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Errno::Inval),
    };
    state.network.socket(&state.wasi, fd)?.shutdown(read, write)
}

async fn get_option(
    memory: &mut [u8],
    state: &mut GuestState,
    fd: i32,
    level: i32,
    name: i32,
    result: i32,
) -> Done {
    let value = state.network.socket(&state.wasi, fd)?.option(level, name)?;
    put(memory, result, &value.to_le_bytes())
}

async fn set_option(
    _memory: &mut [u8],
    state: &mut GuestState,
    fd: i32,
    level: i32,
    name: i32,
    value: i64,
) -> Done {
    state
        .network
        .socket(&state.wasi, fd)?
        .set_option(level, name, value)
}

async fn pair(memory: &mut [u8], state: &mut GuestState, kind: i32, result: i32) -> Done {
    let context = state.network.context();
    let (one, two) = match kind {
        SOCK_STREAM => {
            let (one, two) = LocalStream::pair(context);
            (SocketState::Local(one), SocketState::Local(two))
        }
        SOCK_DGRAM | SOCK_SEQPACKET => {
            let (one, two) = Datagrams::pair(context);
            (SocketState::Datagrams(one), SocketState::Datagrams(two))
        }
        _ => return Err(Errno::Prototype),
    };
    let one = Socket::new(context, Family::Unix, one)?;
    let two = Socket::new(context, Family::Unix, two)?;
    insert_two(memory, state, result, [one, two])
}

async fn pipe(memory: &mut [u8], state: &mut GuestState, result: i32) -> Done {
    let context = state.network.context();
    let (reader, writer) = channel(context.account());
    let reader = Socket::new(context, Family::Unix, SocketState::PipeReader(reader))?;
    let writer = Socket::new(context, Family::Unix, SocketState::PipeWriter(writer))?;
    insert_two(memory, state, result, [reader, writer])
}

async fn resolve(
    memory: &mut [u8],
    state: &mut GuestState,
    name: i32,
    length: i32,
    result: i32,
) -> Done {
    range(memory, result, 4)?;
    let name = range(memory, name, length)?;
    let name = std::str::from_utf8(&memory[name]).map_err(|_| Errno::Noent)?;
    let context = state.network.context();
    let lookup = SocketState::NameLookup(NameLookup::start(context, name)?);
    let lookup = Socket::new(context, Family::Unix, lookup)?;
    let fd = state.network.insert(&state.wasi, lookup)?;
    put(memory, result, &fd.to_le_bytes())
}
