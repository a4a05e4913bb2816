//! One socket, pipe's end or lookup of a dyno: its state, and the operations on it.
//!
//! The operations never wait; [`Socket::read`], [`Socket::write`] and [`Socket::wait`] do, for guests that ask for it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use corundum_abi::outbound::Transport;
use rustix::net::Shutdown;
use wasi_common::file::{FdFlags, FileAccessMode, FileType};
use wasi_common::snapshots::preview_1::types::Errno;

use super::NetworkContext;
use super::address::{self, EndName, Family};
use super::channel::{ReadEnd, WriteEnd};
use super::datagrams::Inbox;
use super::kernel::KernelSocket;
use super::loopback::{self, Backlog, BoundPort, LocalStream};
use super::options::{self, OptionValues, SocketOption};
use super::resolve::NameLookup;
use crate::os::Handle;

/// Machines that a datagram socket receives from: those that it has sent to last. A socket of the kernel accepts datagrams
/// from anywhere, so the others are discarded, as a translator of addresses does.
const MAX_CORRESPONDENTS: usize = 64;
/// Datagrams of others that one call discards.
const MAX_DISCARDED: usize = 64;

/// The direction that a guest waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Bytes, a connection, or the end of the stream.
    Read,
    /// Room for bytes, or the result of connecting.
    Write,
}

/// State of a socket that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketReadiness {
    /// Bytes that can be read, as far as they are known.
    pub(crate) bytes: u64,
    /// True if the peer has closed.
    pub(crate) hung_up: bool,
}

impl SocketReadiness {
    pub(super) const HUNG_UP: Self = Self {
        bytes: 0,
        hung_up: true,
    };

    fn of(bytes: usize, hung_up: bool) -> Option<Self> {
        (bytes > 0 || hung_up).then_some(Self {
            bytes: bytes as u64,
            hung_up,
        })
    }
}

/// Answer to the question whether a socket is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketPoll {
    /// The socket is ready.
    Ready(SocketReadiness),
    /// The task is woken when it may be.
    Waiting,
    /// Only the guest itself can make it ready, which it cannot do while it waits.
    Stuck,
}

/// Ways to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ReceiveMode {
    /// Leaves the bytes to the next read.
    pub(super) peek: bool,
    /// Fails instead of waiting, whatever the descriptor's flags say.
    pub(super) dont_wait: bool,
}

/// A socket, a pipe's end or a lookup.
pub(super) struct Socket {
    context: Arc<NetworkContext>,
    family: Family,
    flags: AtomicU32,
    options: Mutex<OptionValues>,
    state: Mutex<SocketState>,
    /// Counts the socket against the dyno's open files.
    _handle: Handle,
}

pub(super) enum SocketState {
    /// A stream without a connection.
    Idle(Option<BoundPort>),
    Listening(Arc<Backlog>),
    Local(LocalStream),
    Kernel(Arc<KernelSocket>),
    Datagrams(Datagrams),
    PipeReader(ReadEnd),
    PipeWriter(WriteEnd),
    NameLookup(NameLookup),
}

/// A socket for datagrams.
pub(super) struct Datagrams {
    port: Option<BoundPort>,
    /// Datagrams from sockets of the dyno.
    inbox: Arc<Inbox>,
    destination: Destination,
    /// The kernel's socket, from the first datagram to another machine on.
    kernel: Option<Arc<KernelSocket>>,
    /// Machines that the socket has sent to, the last one at the end.
    correspondents: VecDeque<SocketAddr>,
}

/// The place that a datagram socket is connected to.
enum Destination {
    None,
    Address(SocketAddr),
    /// The other end of a pair.
    Pair(Arc<Inbox>),
}

impl Datagrams {
    fn new(context: &NetworkContext) -> Self {
        Self {
            port: None,
            inbox: Inbox::new(context.account()),
            destination: Destination::None,
            kernel: None,
            correspondents: VecDeque::new(),
        }
    }

    /// Returns the two ends of a pair.
    pub(super) fn pair(context: &NetworkContext) -> (Self, Self) {
        let (mut one, mut two) = (Self::new(context), Self::new(context));
        one.destination = Destination::Pair(two.inbox.clone());
        two.destination = Destination::Pair(one.inbox.clone());
        (one, two)
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl SocketState {
    /// Returns the state of a new socket of a type with Linux's number.
    ///
    /// # Errors
    ///
    /// `EPROTOTYPE` if there is no such type.
    pub(super) fn of_type(context: &NetworkContext, kind: i32) -> Result<Self, Errno> {
        match kind {
            SOCK_STREAM => Ok(Self::Idle(None)),
            SOCK_DGRAM => Ok(Self::Datagrams(Datagrams::new(context))),
            _ => Err(Errno::Prototype),
        }
    }
}

pub(super) const SOCK_STREAM: i32 = 1;
pub(super) const SOCK_DGRAM: i32 = 2;

impl NetworkContext {
    pub(super) fn account(&self) -> &Arc<crate::account::Account> {
        self.filesystem.account()
    }

    /// Counts one more descriptor, which keeps `bytes` of the host's memory.
    ///
    /// # Errors
    ///
    /// `EMFILE` if the dyno has too many.
    pub(super) fn open_handle(&self, bytes: usize) -> Result<Handle, Errno> {
        self.filesystem.open_handle(bytes).map_err(|_| Errno::Mfile)
    }
}

impl Socket {
    /// Creates a socket in a state.
    ///
    /// # Errors
    ///
    /// `EMFILE` if the dyno has too many descriptors.
    pub(super) fn new(
        context: &Arc<NetworkContext>,
        family: Family,
        state: SocketState,
    ) -> Result<Arc<Self>, Errno> {
        let handle = context.open_handle(size_of::<Self>())?;
        Ok(Self::with_handle(context, family, state, handle))
    }

    fn with_handle(
        context: &Arc<NetworkContext>,
        family: Family,
        state: SocketState,
        handle: Handle,
    ) -> Arc<Self> {
        Arc::new(Self {
            context: context.clone(),
            family,
            flags: AtomicU32::new(0),
            options: Mutex::default(),
            state: Mutex::new(state),
            _handle: handle,
        })
    }

    fn state(&self) -> MutexGuard<'_, SocketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn options(&self) -> MutexGuard<'_, OptionValues> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether this is a socket, rather than a pipe's end or a lookup.
    pub(super) fn is_socket(&self) -> bool {
        !matches!(self.file_type(), FileType::Pipe)
    }

    pub(super) fn is_datagram(&self) -> bool {
        matches!(*self.state(), SocketState::Datagrams(_))
    }

    pub(super) fn file_type(&self) -> FileType {
        match *self.state() {
            SocketState::Datagrams(_) => FileType::SocketDgram,
            SocketState::PipeReader(_)
            | SocketState::PipeWriter(_)
            | SocketState::NameLookup(_) => FileType::Pipe,
            _ => FileType::SocketStream,
        }
    }

    /// Returns the directions of the descriptors.
    pub(super) fn access(&self) -> FileAccessMode {
        match *self.state() {
            SocketState::PipeReader(_) | SocketState::NameLookup(_) => FileAccessMode::READ,
            SocketState::PipeWriter(_) => FileAccessMode::WRITE,
            _ => FileAccessMode::READ | FileAccessMode::WRITE,
        }
    }

    pub(super) fn flags(&self) -> FdFlags {
        FdFlags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }

    pub(super) fn set_flags(&self, flags: FdFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    fn may_wait(&self) -> bool {
        !self.flags().contains(FdFlags::NONBLOCK)
    }

    /// Binds a port of the dyno's loopback.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the socket has one; see [`loopback::bind`].
    pub(super) fn bind(&self, address: SocketAddr) -> Result<(), Errno> {
        let ip_as_given = address.ip();
        let canonical = self.family.canonical(address)?;
        let only_v6 = self.options().get(SocketOption::OnlyV6) != 0;
        // An IPv6 socket that is bound to all addresses stays one of IPv6.
        let address = match ip_as_given.is_ipv6() && ip_as_given.is_unspecified() {
            true => SocketAddr::new(ip_as_given, address.port()),
            false => canonical,
        };
        match &mut *self.state() {
            SocketState::Idle(port @ None) => {
                *port = Some(loopback::bind(
                    &self.context,
                    Transport::Tcp,
                    address,
                    only_v6,
                )?);
                Ok(())
            }
            SocketState::Datagrams(datagrams) if datagrams.port.is_none() => {
                let port = loopback::bind(&self.context, Transport::Udp, address, only_v6)?;
                port.deliver_to(&datagrams.inbox);
                datagrams.port = Some(port);
                Ok(())
            }
            _ => Err(Errno::Inval),
        }
    }

    /// Accepts connections.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for a datagram socket, `EINVAL` for one that is connected.
    pub(super) fn listen(&self, backlog: i32) -> Result<(), Errno> {
        let mut state = self.state();
        match &mut *state {
            SocketState::Listening(listener) => listener.set_limit(backlog),
            SocketState::Idle(port) => {
                let port = match port.take() {
                    Some(port) => port,
                    None => {
                        let any = self.family.unspecified();
                        loopback::bind(&self.context, Transport::Tcp, any, false)?
                    }
                };
                *state = SocketState::Listening(port.listen(backlog));
            }
            SocketState::Datagrams(_) => return Err(Errno::Notsup),
            _ => return Err(Errno::Inval),
        }
        Ok(())
    }

    /// Takes a connection that waits. Returns its socket and its peer's address.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if none waits, `EINVAL` if the socket does not listen.
    pub(super) fn accept(&self) -> Result<(Arc<Self>, EndName), Errno> {
        let listener = match &*self.state() {
            SocketState::Listening(listener) => listener.clone(),
            SocketState::Datagrams(_) => return Err(Errno::Notsup),
            _ => return Err(Errno::Inval),
        };
        let (stream, handle) = listener.accept()?;
        let peer = stream.names.map(|(_, peer)| self.family.shown(peer));
        let state = SocketState::Local(stream);
        let socket = Self::with_handle(&self.context, self.family, state, handle);
        Ok((socket, peer.map_or(EndName::Unnamed, EndName::Inet)))
    }

    /// Connects, or begins to.
    ///
    /// # Errors
    ///
    /// `EINPROGRESS` if the peer has not answered yet: the socket becomes writable then, and [`Self::take_error`] has the
    /// result. `EACCES` if the dyno may not reach the address.
    pub(super) fn connect(&self, to: SocketAddr) -> Result<(), Errno> {
        let to = self.family.canonical(to)?;
        let own = |transport| self.context.access.is_own(to, transport);
        let mut state = self.state();
        match &mut *state {
            SocketState::Idle(port) if own(Transport::Tcp) => {
                let port = port.take();
                *state = SocketState::Local(loopback::connect(&self.context, to, port)?);
                Ok(())
            }
            SocketState::Idle(_) => {
                let kernel = self.open_kernel(to, Transport::Tcp)?;
                let begun = kernel.connect(to);
                if !matches!(begun, Ok(()) | Err(Errno::Inprogress)) {
                    return begun;
                }
                *state = SocketState::Kernel(Arc::new(kernel));
                begun
            }
            SocketState::Kernel(kernel) => match kernel.take_error() {
                Err(errno) => {
                    *state = SocketState::Idle(None);
                    Err(errno)
                }
                Ok(()) if kernel.peer().is_ok() => Err(Errno::Isconn),
                Ok(()) => Err(Errno::Already),
            },
            SocketState::Datagrams(datagrams) => {
                if matches!(datagrams.destination, Destination::Pair(_)) {
                    return Err(Errno::Isconn);
                }
                if !own(Transport::Udp) {
                    let kernel = self.open_kernel(to, Transport::Udp)?;
                    kernel.connect(to)?;
                    datagrams.kernel = Some(Arc::new(kernel));
                }
                datagrams.destination = Destination::Address(to);
                Ok(())
            }
            SocketState::Local(_) | SocketState::Listening(_) => Err(Errno::Isconn),
            _ => Err(Errno::Notsock),
        }
    }

    /// Opens a socket of the kernel for an address that the dyno may reach.
    fn open_kernel(&self, to: SocketAddr, transport: Transport) -> Result<KernelSocket, Errno> {
        self.context.access.check(to, transport)?;
        let account = self.context.account();
        let kernel = KernelSocket::open(account.network(), account, to, transport)?;
        self.options().apply_all(kernel.descriptor());
        Ok(kernel)
    }

    /// Takes the error of the connection.
    ///
    /// # Errors
    ///
    /// That error.
    pub(super) fn take_error(&self) -> Result<(), Errno> {
        let kernel = self.kernel();
        kernel.map_or(Ok(()), |kernel| kernel.take_error())
    }

    fn kernel(&self) -> Option<Arc<KernelSocket>> {
        match &*self.state() {
            SocketState::Kernel(kernel) => Some(kernel.clone()),
            SocketState::Datagrams(datagrams) => datagrams.kernel.clone(),
            _ => None,
        }
    }

    /// Returns the name of this end.
    pub(super) fn local_name(&self) -> EndName {
        let inet = |address| EndName::Inet(self.family.shown(address));
        let of_kernel = |kernel: &KernelSocket| inet((address::OWN, kernel.port()).into());
        match &*self.state() {
            _ if self.family == Family::Unix => EndName::Unnamed,
            SocketState::Idle(Some(port)) => inet(port.address),
            SocketState::Listening(listener) => inet(listener.address()),
            SocketState::Local(stream) => {
                stream.names.map_or(EndName::Unnamed, |names| inet(names.0))
            }
            SocketState::Kernel(kernel) => of_kernel(kernel),
            SocketState::Datagrams(datagrams) => match (&datagrams.port, &datagrams.kernel) {
                (Some(port), _) => inet(port.address),
                (None, Some(kernel)) => of_kernel(kernel),
                (None, None) => EndName::Inet(self.family.unspecified()),
            },
            _ => EndName::Inet(self.family.unspecified()),
        }
    }

    /// Returns the name of the other end.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` if the socket is not connected.
    pub(super) fn peer_name(&self) -> Result<EndName, Errno> {
        let inet = |address| EndName::Inet(self.family.shown(address));
        match &*self.state() {
            SocketState::Local(stream) => {
                Ok(stream.names.map_or(EndName::Unnamed, |names| inet(names.1)))
            }
            SocketState::Kernel(kernel) => kernel.peer().map(inet),
            SocketState::Datagrams(datagrams) => match datagrams.destination {
                Destination::Address(to) => Ok(inet(to)),
                Destination::Pair(_) => Ok(EndName::Unnamed),
                Destination::None => Err(Errno::Notconn),
            },
            _ => Err(Errno::Notconn),
        }
    }

    /// Closes one direction or both.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` if the socket is not connected.
    pub(super) fn shutdown(&self, read: bool, write: bool) -> Result<(), Errno> {
        let mut state = self.state();
        match &mut *state {
            SocketState::Local(stream) => {
                if read {
                    stream.reader.close();
                }
                if write {
                    stream.writer.close();
                }
                Ok(())
            }
            SocketState::Kernel(kernel) => kernel.shutdown(match (read, write) {
                (true, true) => Shutdown::Both,
                (true, false) => Shutdown::Read,
                _ => Shutdown::Write,
            }),
            SocketState::Listening(_) if read => {
                *state = SocketState::Idle(None);
                Ok(())
            }
            SocketState::Datagrams(datagrams) => match datagrams.destination {
                Destination::None => Err(Errno::Notconn),
                _ => Ok(()),
            },
            _ => Err(Errno::Notconn),
        }
    }

    /// Returns an option's value.
    ///
    /// # Errors
    ///
    /// `ENOPROTOOPT` if a dyno does not have it.
    pub(super) fn option(&self, level: i32, name: i32) -> Result<i64, Errno> {
        match (level, name) {
            (1, 3) => Ok(i64::from(if self.is_datagram() {
                SOCK_DGRAM
            } else {
                SOCK_STREAM
            })),
            (1, 4) => Ok(self.take_error().err().map_or(0, |errno| errno as i64)),
            (1, 30) => Ok(i64::from(matches!(
                *self.state(),
                SocketState::Listening(_)
            ))),
            _ => Ok(self.options().get(options::named(level, name)?)),
        }
    }

    /// Sets an option.
    ///
    /// # Errors
    ///
    /// `ENOPROTOOPT` if a dyno does not have it, `EINVAL` for a value that is not possible.
    pub(super) fn set_option(&self, level: i32, name: i32, value: i64) -> Result<(), Errno> {
        let option = options::named(level, name)?;
        let kernel = self.kernel();
        let kernel = kernel.as_ref().map(|kernel| kernel.descriptor());
        self.options().set(option, value, kernel)
    }

    /// Reads what is there. Returns the bytes, and the sender of a datagram.
    fn try_read(&self, buffer: &mut [u8], peek: bool) -> Result<(usize, Option<EndName>), Errno> {
        match &mut *self.state() {
            SocketState::Local(stream) => Ok((stream.reader.read(buffer, peek)?, None)),
            SocketState::Kernel(kernel) => Ok((kernel.receive(buffer, peek)?.0, None)),
            SocketState::PipeReader(reader) => Ok((reader.read(buffer, peek)?, None)),
            SocketState::NameLookup(lookup) => Ok((lookup.read(buffer)?, None)),
            SocketState::Datagrams(datagrams) => self.receive_datagram(datagrams, buffer, peek),
            SocketState::PipeWriter(_) => Err(Errno::Badf),
            SocketState::Idle(_) | SocketState::Listening(_) => Err(Errno::Notconn),
        }
    }

    fn receive_datagram(
        &self,
        datagrams: &Datagrams,
        buffer: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<EndName>), Errno> {
        match datagrams.inbox.pop(buffer, peek) {
            Ok((length, EndName::Inet(from))) => {
                return Ok((length, Some(EndName::Inet(self.family.shown(from)))));
            }
            Ok((length, EndName::Unnamed)) => return Ok((length, Some(EndName::Unnamed))),
            Err(errno) => match &datagrams.destination {
                Destination::Pair(other) if other.is_closed() => return Ok((0, None)),
                _ if datagrams.kernel.is_none() => return Err(errno),
                _ => {}
            },
        }
        let Some(kernel) = &datagrams.kernel else {
            return Err(Errno::Again);
        };
        let is_connected = matches!(datagrams.destination, Destination::Address(_));
        for _ in 0..MAX_DISCARDED {
            let (length, from) = kernel.receive(buffer, peek)?;
            let from = from.map(|from| SocketAddr::new(from.ip().to_canonical(), from.port()));
            let known = from.is_some_and(|from| datagrams.correspondents.contains(&from));
            if is_connected || known {
                return Ok((
                    length,
                    from.map(|from| EndName::Inet(self.family.shown(from))),
                ));
            }
            if peek {
                let _ = kernel.receive(&mut [], false);
            }
        }
        Err(Errno::Again)
    }

    /// Writes as much as there is room for.
    fn try_write(&self, bytes: &[u8], to: Option<SocketAddr>) -> Result<usize, Errno> {
        match &mut *self.state() {
            SocketState::Datagrams(datagrams) => self.send_datagram(datagrams, bytes, to),
            _ if to.is_some() => Err(Errno::Isconn),
            SocketState::Local(stream) => stream.writer.write(bytes),
            SocketState::Kernel(kernel) => kernel.send(bytes, None),
            SocketState::PipeWriter(writer) => writer.write(bytes),
            SocketState::PipeReader(_) | SocketState::NameLookup(_) => Err(Errno::Badf),
            SocketState::Idle(_) | SocketState::Listening(_) => Err(Errno::Notconn),
        }
    }

    fn send_datagram(
        &self,
        datagrams: &mut Datagrams,
        bytes: &[u8],
        to: Option<SocketAddr>,
    ) -> Result<usize, Errno> {
        let to = match (&datagrams.destination, to) {
            (Destination::Pair(_), Some(_)) => return Err(Errno::Isconn),
            (Destination::Pair(inbox), None) => {
                inbox.push(EndName::Unnamed, bytes)?;
                return Ok(bytes.len());
            }
            (_, Some(to)) => self.family.canonical(to)?,
            (Destination::Address(to), None) => *to,
            (Destination::None, None) => return Err(Errno::Destaddrreq),
        };
        if self.context.access.is_own(to, Transport::Udp) {
            return self.send_to_own(datagrams, bytes, to);
        }
        let kernel = match &datagrams.kernel {
            // Each datagram is checked: the socket may be one that sends anywhere.
            Some(kernel) => {
                self.context.access.check(to, Transport::Udp)?;
                kernel.clone()
            }
            None => {
                let kernel = Arc::new(self.open_kernel(to, Transport::Udp)?);
                datagrams.kernel = Some(kernel.clone());
                kernel
            }
        };
        if !datagrams.correspondents.contains(&to) {
            if datagrams.correspondents.len() >= MAX_CORRESPONDENTS {
                datagrams.correspondents.pop_front();
            }
            datagrams.correspondents.push_back(to);
        }
        match datagrams.destination {
            Destination::Address(peer) if peer == to => kernel.send(bytes, None),
            _ => kernel.send(bytes, Some(to)),
        }
    }

    /// Sends a datagram to a socket of the dyno. As with UDP anywhere, it is lost if nothing receives it.
    fn send_to_own(
        &self,
        datagrams: &mut Datagrams,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Result<usize, Errno> {
        let port = match &datagrams.port {
            Some(port) => port,
            None => {
                let any = SocketAddr::new(self.family.unspecified().ip(), 0);
                let port = loopback::bind(&self.context, Transport::Udp, any, false)?;
                port.deliver_to(&datagrams.inbox);
                datagrams.port.insert(port)
            }
        };
        let from = match port.address.ip().is_unspecified() {
            true if to.is_ipv4() => (std::net::Ipv4Addr::LOCALHOST, port.address.port()).into(),
            true => (std::net::Ipv6Addr::LOCALHOST, port.address.port()).into(),
            false => port.address,
        };
        match loopback::inbox(&self.context, to) {
            Some(inbox) => match inbox.push(EndName::Inet(from), bytes) {
                Err(errno @ (Errno::Msgsize | Errno::Nobufs)) => Err(errno),
                Ok(()) | Err(_) => Ok(bytes.len()),
            },
            None if matches!(datagrams.destination, Destination::Address(_)) => {
                Err(Errno::Connrefused)
            }
            None => Ok(bytes.len()),
        }
    }

    /// Reads, after waiting if the guest has asked for that.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if nothing is there and the descriptor does not wait, or its timeout is over; `EDEADLK` if nothing can come.
    pub(super) async fn read(
        &self,
        buffer: &mut [u8],
        mode: ReceiveMode,
    ) -> Result<(usize, Option<EndName>), Errno> {
        loop {
            match self.try_read(buffer, mode.peek) {
                Err(Errno::Again) if self.may_wait() && !mode.dont_wait => {
                    self.wait(Interest::Read).await?;
                }
                result => return result,
            }
        }
    }

    /// Writes, after waiting if the guest has asked for that.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if there is no room and the descriptor does not wait, or its timeout is over; `EDEADLK` if there will be none.
    pub(super) async fn write(
        &self,
        bytes: &[u8],
        to: Option<SocketAddr>,
        dont_wait: bool,
    ) -> Result<usize, Errno> {
        loop {
            match self.try_write(bytes, to) {
                Err(Errno::Again) if self.may_wait() && !dont_wait => {
                    self.wait(Interest::Write).await?;
                }
                result => return result,
            }
        }
    }

    /// Waits until the socket is ready.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the socket's timeout is over, `EDEADLK` if it cannot become ready while the guest waits.
    pub(super) async fn wait(&self, interest: Interest) -> Result<(), Errno> {
        let ready = poll_fn(|task| match self.poll_ready(interest, task) {
            SocketPoll::Ready(_) => Poll::Ready(Ok(())),
            SocketPoll::Stuck => Poll::Ready(Err(Errno::Deadlk)),
            SocketPoll::Waiting => Poll::Pending,
        });
        let timeout = self.options().timeout(match interest {
            Interest::Read => SocketOption::ReceiveTimeout,
            Interest::Write => SocketOption::SendTimeout,
        });
        match timeout {
            Some(timeout) => {
                let ready = tokio::time::timeout(timeout, ready).await;
                ready.unwrap_or(Err(Errno::Again))
            }
            None => ready.await,
        }
    }

    /// Accepts, after waiting if the guest has asked for that.
    pub(super) async fn accept_waiting(&self) -> Result<(Arc<Self>, EndName), Errno> {
        match self.accept() {
            Err(Errno::Again) if self.may_wait() => {
                self.wait(Interest::Read).await?;
                self.accept()
            }
            result => result,
        }
    }

    /// Connects, and waits for the result if the guest has asked for that.
    pub(super) async fn connect_waiting(&self, to: SocketAddr) -> Result<(), Errno> {
        match self.connect(to) {
            Err(Errno::Inprogress) if self.may_wait() => {
                self.wait(Interest::Write).await?;
                let connected = self.take_error();
                if connected.is_err() {
                    *self.state() = SocketState::Idle(None);
                }
                connected
            }
            result => result,
        }
    }

    /// Returns whether the socket is ready, or has the task woken when that may have changed.
    pub(super) fn poll_ready(&self, interest: Interest, task: &mut Context<'_>) -> SocketPoll {
        let local = |readiness: Option<SocketReadiness>| match readiness {
            Some(readiness) => SocketPoll::Ready(readiness),
            None => SocketPoll::Stuck,
        };
        let of_kernel = |kernel: &KernelSocket, task: &mut Context<'_>| match kernel
            .poll_ready(interest, task)
        {
            Poll::Ready(readiness) => SocketPoll::Ready(readiness),
            Poll::Pending => SocketPoll::Waiting,
        };
        match (&mut *self.state(), interest) {
            (SocketState::Kernel(kernel), _) => of_kernel(kernel, task),
            (SocketState::Idle(_), _) => SocketPoll::Ready(SocketReadiness::HUNG_UP),
            (SocketState::Listening(listener), Interest::Read) => {
                local(SocketReadiness::of(listener.count(), false))
            }
            (SocketState::Listening(_), Interest::Write) => SocketPoll::Stuck,
            (SocketState::Local(stream), Interest::Read) => {
                let (bytes, end) = stream.reader.readable();
                local(SocketReadiness::of(bytes, end))
            }
            (SocketState::Local(stream), Interest::Write) => {
                let (room, end) = stream.writer.writable();
                local(SocketReadiness::of(room, end))
            }
            (SocketState::PipeReader(reader), Interest::Read) => {
                let (bytes, end) = reader.readable();
                local(SocketReadiness::of(bytes, end))
            }
            (SocketState::PipeWriter(writer), Interest::Write) => {
                let (room, end) = writer.writable();
                local(SocketReadiness::of(room, end))
            }
            (SocketState::NameLookup(lookup), Interest::Read) => match lookup.poll_ready(task) {
                Poll::Ready(()) => local(SocketReadiness::of(address::ADDRESS, false)),
                Poll::Pending => SocketPoll::Waiting,
            },
            (SocketState::Datagrams(datagrams), Interest::Read) => {
                match (
                    datagrams.inbox.first(),
                    &datagrams.destination,
                    &datagrams.kernel,
                ) {
                    (Some(bytes), _, _) => local(SocketReadiness::of(bytes.max(1), false)),
                    (None, Destination::Pair(other), _) => {
                        local(SocketReadiness::of(0, other.is_closed()))
                    }
                    (None, _, Some(kernel)) => of_kernel(kernel, task),
                    (None, _, None) => SocketPoll::Stuck,
                }
            }
            (SocketState::Datagrams(datagrams), Interest::Write) => {
                match (&datagrams.destination, &datagrams.kernel) {
                    (Destination::Pair(other), _) => {
                        local(SocketReadiness::of(usize::from(other.accepts()), false))
                    }
                    (_, Some(kernel)) => of_kernel(kernel, task),
                    (_, None) => local(SocketReadiness::of(1, false)),
                }
            }
            (SocketState::PipeReader(_) | SocketState::NameLookup(_), Interest::Write)
            | (SocketState::PipeWriter(_), Interest::Read) => {
                SocketPoll::Ready(SocketReadiness::HUNG_UP)
            }
        }
    }
}
