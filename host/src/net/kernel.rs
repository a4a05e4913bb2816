//! A socket of the kernel, over which a dyno talks to another machine.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use corundum_abi::outbound::Transport;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, connect, getpeername,
    getsockname, recvfrom, send, sendto, shutdown, socket_with, sockopt,
};
use wasi_common::snapshots::preview_1::types::Errno;

use super::errno;
use super::limits::{AppNetwork, DescriptorPermit};
use super::socket::{Interest, SocketReadiness};
use crate::account::{Account, Charge, Holding};
use crate::native::RegisteredDescriptor;

/// Bytes that are charged for a socket: the kernel's structures, and buffers of a connection that waits. The kernel bounds
/// the buffers of all sockets together (`net.ipv4.tcp_mem`).
const SOCKET: usize = 16 << 10;

/// Times that one poll asks the runtime before it leaves the answer to the guest's next call.
const MAX_ATTEMPTS: usize = 8;

/// A non-blocking socket.
pub(super) struct KernelSocket {
    descriptor: Arc<OwnedFd>,
    /// Registration with the runtime's event queue, from the first wait on. A socket that was registered before it began to
    /// connect would count as closed.
    registration: Mutex<Option<RegisteredDescriptor>>,
    /// `None` for a client's connection.
    _permit: Option<DescriptorPermit>,
    _charge: Charge,
}

impl KernelSocket {
    /// Creates a socket for connections to `address`.
    ///
    /// # Errors
    ///
    /// `ENFILE` if the node or the app has too many, `ENOBUFS` if the node has no memory for it.
    pub(super) fn open(
        app: &Arc<AppNetwork>,
        account: &Arc<Account>,
        address: SocketAddr,
        transport: Transport,
    ) -> Result<Self, Errno> {
        let permit = app.take_descriptor().ok_or(Errno::Nfile)?;
        let mut charge = account.charge(Holding::Sockets);
        charge.try_resize(SOCKET).map_err(|_| Errno::Nobufs)?;
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let kind = match transport {
            Transport::Tcp => SocketType::STREAM,
            Transport::Udp => SocketType::DGRAM,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, kind, flags, None).map_err(errno::of_kernel)?;
        Ok(Self {
            descriptor: Arc::new(socket),
            registration: Mutex::default(),
            _permit: Some(permit),
            _charge: charge,
        })
    }

    /// Makes a socket of a client's connection, which the dyno takes over.
    ///
    /// It is not one of the sockets that the node counts for outbound connections: the number of connections is bounded where they
    /// are accepted.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` if the node has no memory for it.
    pub(super) fn of_connection(account: &Arc<Account>, socket: UnixStream) -> Result<Self, Errno> {
        let mut charge = account.charge(Holding::Sockets);
        charge.try_resize(SOCKET).map_err(|_| Errno::Nobufs)?;
        socket.set_nonblocking(true).map_err(|_| Errno::Io)?;
        Ok(Self {
            descriptor: Arc::new(socket.into()),
            registration: Mutex::default(),
            _permit: None,
            _charge: charge,
        })
    }

    /// Returns the descriptor, for options.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Begins to connect.
    ///
    /// # Errors
    ///
    /// `EINPROGRESS` if the peer has not answered yet, or the kernel's error.
    pub(super) fn connect(&self, to: SocketAddr) -> Result<(), Errno> {
        connect(self.descriptor(), &to).map_err(errno::of_kernel)
    }

    /// Takes the error that the socket has met since the last call.
    ///
    /// # Errors
    ///
    /// That error.
    pub(super) fn take_error(&self) -> Result<(), Errno> {
        match sockopt::socket_error(self.descriptor()) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) | Err(error) => Err(errno::of_kernel(error)),
        }
    }

    /// Reads what is there. A read takes no more from the kernel than its buffers hold, so it is short.
    pub(super) fn receive(
        &self,
        buffer: &mut [u8],
        peek: bool,
    ) -> Result<(usize, Option<SocketAddr>), Errno> {
        let flags = if peek {
            RecvFlags::PEEK
        } else {
            RecvFlags::empty()
        };
        let received = recvfrom(self.descriptor(), buffer, flags);
        let (length, _, from) = received.map_err(errno::of_kernel)?;
        let from = from.and_then(|from| SocketAddr::try_from(from).ok());
        Ok((length, from))
    }

    /// Sends as much as the kernel takes.
    pub(super) fn send(&self, bytes: &[u8], to: Option<SocketAddr>) -> Result<usize, Errno> {
        let flags = SendFlags::NOSIGNAL;
        let sent = match to {
            Some(to) => sendto(self.descriptor(), bytes, flags, &to),
            None => send(self.descriptor(), bytes, flags),
        };
        sent.map_err(errno::of_kernel)
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        shutdown(self.descriptor(), how).map_err(errno::of_kernel)
    }

    /// Returns the port of this end.
    pub(super) fn port(&self) -> u16 {
        let name = getsockname(self.descriptor()).ok();
        let name = name.and_then(|name| SocketAddr::try_from(name).ok());
        name.map_or(0, |name| name.port())
    }

    /// Returns the peer's address.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` if the socket is not connected.
    pub(super) fn peer(&self) -> Result<SocketAddr, Errno> {
        let peer = getpeername(self.descriptor()).map_err(errno::of_kernel)?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        peer.ok_or(Errno::Notconn)
    }

    /// Returns whether the socket is ready, or has the task woken when that may have changed.
    pub(super) fn poll_ready(
        &self,
        interest: Interest,
        task: &mut Context<'_>,
    ) -> Poll<SocketReadiness> {
        let registration = self.registration.lock();
        let mut registration = registration.unwrap_or_else(PoisonError::into_inner);
        let mut was_flagged = false;
        for _ in 0..MAX_ATTEMPTS {
            let registered = match registration.take() {
                Some(registered) => registered,
                // The runtime ends, or has no memory. The guest's next call meets the error.
                None => match RegisteredDescriptor::new(self.descriptor.clone()) {
                    Ok(registered) => registered,
                    Err(_) => return Poll::Ready(SocketReadiness::HUNG_UP),
                },
            };
            let registered = registration.insert(registered);
            let flag = match interest {
                Interest::Read => registered.poll_read_ready(task),
                Interest::Write => registered.poll_write_ready(task),
            };
            let Ok(mut guard) = ready!(flag) else {
                return Poll::Ready(SocketReadiness::HUNG_UP);
            };
            // The runtime's flag stays set until something has found nothing, so the kernel decides.
            if let Some(readiness) = self.ready_now(interest) {
                return Poll::Ready(readiness);
            }
            guard.clear_ready();
            // The runtime keeps the flag of an error for ever, even if the guest has taken the error. Only another
            // registration clears it.
            if was_flagged {
                *registration = None;
            }
            was_flagged = !was_flagged;
        }
        Poll::Ready(SocketReadiness {
            bytes: 0,
            hung_up: false,
        })
    }

    fn ready_now(&self, interest: Interest) -> Option<SocketReadiness> {
        let wanted = match interest {
            Interest::Read => PollFlags::IN | PollFlags::RDHUP,
            Interest::Write => PollFlags::OUT,
        };
        let mut polled = [PollFd::new(self.descriptor(), wanted)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match poll(&mut polled, Some(&now)) {
            Ok(0) => None,
            Ok(_) | Err(_) => {
                let ended = PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP;
                Some(SocketReadiness {
                    bytes: 1,
                    hung_up: polled[0].revents().intersects(ended),
                })
            }
        }
    }
}
