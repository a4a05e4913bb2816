//! Sockets, pipes and name resolution of dynos.
//!
//! A socket is a descriptor in WASI's table, so reading, writing, polling and closing are WASI's functions; what WASI has
//! no function for comes from an import module of our own ([`imports`]), which a C library in the pack calls
//! (`sdk/ruby/mri/net`).
//!
//! Two kinds of sockets look alike to a guest. Pipes, pairs and everything between addresses of the dyno itself are memory
//! of this process ([`channel`], [`datagrams`], [`loopback`]): no interface of the host takes part, and two dynos never
//! meet. Connections to other machines are sockets of the kernel ([`kernel`]), if the dyno may reach the address
//! ([`crate::outbound`]). A dyno that waits is a task that the runtime's event queue wakes; it holds no thread.
//!
//! Sockets are counted: per dyno as its other descriptors, and those of the kernel per node and per app ([`limits`]). All
//! buffers that the host keeps are charges of the dyno's account. Sockets end with their dyno and are never part of an
//! image.

mod address;
mod channel;
mod datagrams;
mod descriptor;
mod errno;
pub(crate) mod imports;
mod kernel;
mod limits;
mod loopback;
mod options;
mod policy;
mod resolve;
mod socket;

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use futures_util::FutureExt;
use wasi_common::WasiCtx;
use wasi_common::snapshots::preview_1::types::Errno;
use wasi_common::snapshots::preview_1::wasi_snapshot_preview1 as preview1;
use wiggle::GuestMemory;

pub(crate) use descriptor::SocketDescriptor;
pub(crate) use limits::{AppNetwork, DescriptorPermit, NodeNetwork};
pub(crate) use socket::{Interest, SocketPoll, SocketReadiness};

use crate::os::Filesystem;
use crate::outbound::OutboundGate;
use address::Family;
use kernel::KernelSocket;
use loopback::Loopback;
use policy::OutboundAccess;
use socket::{Socket, SocketState};

/// The first descriptor after the standard streams and the root, which programs do not expect elsewhere.
const FIRST_DESCRIPTOR: u32 = 4;

/// The sockets of one dyno.
pub(crate) struct DynoNetwork {
    context: Arc<NetworkContext>,
    sockets: HashMap<u32, Arc<Socket>>,
}

/// State that all sockets of a dyno share.
pub(crate) struct NetworkContext {
    filesystem: Arc<Filesystem>,
    loopback: Loopback,
    access: OutboundAccess,
}

impl DynoNetwork {
    /// Creates the network of a dyno without sockets.
    pub(crate) fn new(filesystem: Arc<Filesystem>, gate: OutboundGate) -> Self {
        Self {
            context: Arc::new(NetworkContext {
                filesystem,
                loopback: Loopback::default(),
                access: OutboundAccess::new(gate),
            }),
            sockets: HashMap::new(),
        }
    }

    fn context(&self) -> &Arc<NetworkContext> {
        &self.context
    }

    /// Returns the socket with a descriptor.
    ///
    /// # Errors
    ///
    /// `EBADF` if there is no such descriptor, `ENOTSOCK` if it is something else.
    fn socket(&self, wasi: &WasiCtx, fd: i32) -> Result<Arc<Socket>, Errno> {
        let fd = fd.cast_unsigned();
        match self.sockets.get(&fd) {
            Some(socket) if socket.is_socket() => Ok(socket.clone()),
            _ if wasi.table().contains_key(fd) => Err(Errno::Notsock),
            _ => Err(Errno::Badf),
        }
    }

    /// Gives a socket the lowest free descriptor.
    fn insert(&mut self, wasi: &WasiCtx, socket: Arc<Socket>) -> Result<u32, Errno> {
        let table = wasi.table();
        let free = (FIRST_DESCRIPTOR..).find(|fd| !table.contains_key(*fd));
        let free = free.ok_or(Errno::Mfile)?;
        let pushed = wasi
            .push_file(
                Box::new(SocketDescriptor::new(socket.clone())),
                socket.access(),
            )
            .map_err(|_| Errno::Mfile)?;
        if pushed != free {
            table.renumber(pushed, free).map_err(|_| Errno::Mfile)?;
        }
        self.sockets.insert(free, socket);
        Ok(free)
    }

    /// Makes a client's connection the descriptor `fd`.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENOBUFS` if the dyno has no room for it.
    pub(crate) fn insert_connection(
        &mut self,
        wasi: &WasiCtx,
        fd: u32,
        connection: UnixStream,
    ) -> Result<(), Errno> {
        let kernel = KernelSocket::of_connection(self.context.account(), connection)?;
        let state = SocketState::Kernel(Arc::new(kernel));
        let socket = Socket::new(&self.context, Family::Unix, state)?;
        let descriptor = Box::new(SocketDescriptor::new(socket.clone()));
        wasi.insert_file(fd, descriptor, socket.access());
        self.sockets.insert(fd, socket);
        Ok(())
    }

    /// Closes a descriptor of a connection, if the guest has not.
    pub(crate) fn remove_connection(&mut self, wasi: &mut WasiCtx, fd: u32) {
        if self.sockets.remove(&fd).is_some() {
            let mut memory = GuestMemory::Unshared(&mut []);
            let closed = preview1::fd_close(wasi, &mut memory, fd.cast_signed());
            let _ = closed.now_or_never();
        }
    }

    /// Returns whether a descriptor is a socket, a pipe's end or a lookup.
    pub(crate) fn has(&self, fd: u32) -> bool {
        self.sockets.contains_key(&fd)
    }

    /// Makes `to` another descriptor of a socket. Returns false if `fd` is none.
    pub(crate) fn duplicate(&mut self, wasi: &WasiCtx, fd: u32, to: u32) -> bool {
        let Some(socket) = self.sockets.get(&fd).cloned() else {
            return false;
        };
        let descriptor = Box::new(SocketDescriptor::new(socket.clone()));
        wasi.insert_file(to, descriptor, socket.access());
        self.sockets.insert(to, socket);
        true
    }

    /// Forgets a descriptor that the guest has closed. The socket ends with its last descriptor.
    pub(crate) fn closed(&mut self, fd: i32) {
        self.sockets.remove(&fd.cast_unsigned());
    }

    /// Follows a descriptor that the guest has renumbered.
    pub(crate) fn renumbered(&mut self, from: i32, to: i32) {
        match self.sockets.remove(&from.cast_unsigned()) {
            Some(socket) => self.sockets.insert(to.cast_unsigned(), socket),
            None => self.sockets.remove(&to.cast_unsigned()),
        };
    }
}
