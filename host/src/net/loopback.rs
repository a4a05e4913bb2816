//! The loopback of one dyno: the ports that its own sockets are bound to, and the connections between them.
//!
//! It exists in the host's memory only. Servers of a dyno are reached by its own connections and by no others.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use corundum_abi::outbound::Transport;
use wasi_common::snapshots::preview_1::types::Errno;

use super::NetworkContext;
use super::address;
use super::channel::{ReadEnd, WriteEnd, channel};
use super::datagrams::Inbox;
use crate::os::Handle;

/// Ports that a dyno may not bind, as on Linux without privileges.
const PRIVILEGED: u16 = 1024;
/// Ports that the host chooses for sockets without one, as Linux does.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;
/// Connections that wait for `accept`, whatever a guest asks for (`SOMAXCONN` of the guest's library).
const MAX_BACKLOG: usize = 128;

/// The bound ports of one dyno.
#[derive(Default)]
pub(super) struct Loopback(Mutex<Ports>);

#[derive(Default)]
struct Ports {
    bound: HashMap<PortKey, Binding>,
    next: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PortKey {
    transport: Transport,
    is_v6: bool,
    port: u16,
}

struct Binding {
    ip: IpAddr,
    /// True if an IPv6 socket bound to all addresses leaves IPv4 to others.
    only_v6: bool,
    target: BindingTarget,
}

enum BindingTarget {
    /// A socket that does not listen yet.
    None,
    Listener(Weak<Backlog>),
    Inbox(Weak<Inbox>),
}

/// A bound port, until this is dropped.
pub(super) struct BoundPort {
    context: Arc<NetworkContext>,
    key: PortKey,
    /// The address that the socket is bound to.
    pub(super) address: SocketAddr,
}

/// Connections to a listening socket that wait for `accept`.
pub(super) struct Backlog {
    waiting: Mutex<VecDeque<(LocalStream, Handle)>>,
    limit: AtomicUsize,
    port: BoundPort,
}

/// One end of a stream between two sockets of a dyno.
pub(super) struct LocalStream {
    pub(super) reader: ReadEnd,
    pub(super) writer: WriteEnd,
    /// Addresses of this end and of the other one; `None` for a pair.
    pub(super) names: Option<(SocketAddr, SocketAddr)>,
    /// Keeps the port of the connecting end.
    _port: Option<BoundPort>,
}

impl Loopback {
    fn ports(&self) -> MutexGuard<'_, Ports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ports {
    fn set_target(&mut self, key: PortKey, target: BindingTarget) {
        if let Some(binding) = self.bound.get_mut(&key) {
            binding.target = target;
        }
    }

    /// Finds the socket that receives what is sent to `address`.
    fn find(&self, transport: Transport, address: SocketAddr) -> Option<&Binding> {
        let (ip, port) = (address.ip(), address.port());
        let key = |is_v6| PortKey {
            transport,
            is_v6,
            port,
        };
        let exact = self.bound.get(&key(ip.is_ipv6()));
        let reached = |binding: &&Binding| binding.ip.is_unspecified() || binding.ip == ip;
        exact.filter(reached).or_else(|| {
            let both = self.bound.get(&key(true)).filter(|_| ip.is_ipv4());
            both.filter(|binding| binding.ip.is_unspecified() && !binding.only_v6)
        })
    }
}

/// Binds a port, or one that the host chooses if it is 0.
///
/// # Errors
///
/// `EADDRNOTAVAIL` for an address that is not the dyno's, `EACCES` for a privileged port, `EADDRINUSE` for a port that
/// another socket has.
pub(super) fn bind(
    context: &Arc<NetworkContext>,
    transport: Transport,
    address: SocketAddr,
    only_v6: bool,
) -> Result<BoundPort, Errno> {
    let ip = address.ip();
    if !address::is_own(ip) {
        return Err(Errno::Addrnotavail);
    }
    if (1..PRIVILEGED).contains(&address.port()) {
        return Err(Errno::Acces);
    }
    let mut ports = context.loopback.ports();
    let key = |port| PortKey {
        transport,
        is_v6: ip.is_ipv6(),
        port,
    };
    let port = match address.port() {
        0 => {
            let (first, last) = (*EPHEMERAL.start(), *EPHEMERAL.end());
            let start = ports.next.clamp(first, last);
            let mut candidates = (start..=last).chain(first..start);
            let free = |port: &u16| {
                [true, false].into_iter().all(|is_v6| {
                    !ports.bound.contains_key(&PortKey {
                        is_v6,
                        ..key(*port)
                    })
                })
            };
            let port = candidates.find(free).ok_or(Errno::Addrinuse)?;
            ports.next = port + 1;
            port
        }
        port => port,
    };
    let key = key(port);
    if ports.bound.contains_key(&key) {
        return Err(Errno::Addrinuse);
    }
    let binding = Binding {
        ip,
        only_v6,
        target: BindingTarget::None,
    };
    ports.bound.insert(key, binding);
    drop(ports);
    Ok(BoundPort {
        context: context.clone(),
        key,
        address: SocketAddr::new(ip, port),
    })
}

impl Drop for BoundPort {
    fn drop(&mut self) {
        self.context.loopback.ports().bound.remove(&self.key);
    }
}

impl BoundPort {
    /// Delivers datagrams that are sent to the port.
    pub(super) fn deliver_to(&self, inbox: &Arc<Inbox>) {
        let target = BindingTarget::Inbox(Arc::downgrade(inbox));
        self.context.loopback.ports().set_target(self.key, target);
    }

    /// Accepts connections to the port.
    pub(super) fn listen(self, backlog: i32) -> Arc<Backlog> {
        let (context, key) = (self.context.clone(), self.key);
        let listener = Arc::new(Backlog {
            waiting: Mutex::default(),
            limit: AtomicUsize::new(0),
            port: self,
        });
        listener.set_limit(backlog);
        let target = BindingTarget::Listener(Arc::downgrade(&listener));
        context.loopback.ports().set_target(key, target);
        listener
    }
}

impl Backlog {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<(LocalStream, Handle)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the number of connections that may wait.
    pub(super) fn set_limit(&self, backlog: i32) {
        let limit = usize::try_from(backlog).unwrap_or(MAX_BACKLOG);
        let limit = limit.clamp(1, MAX_BACKLOG);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Returns the address that the socket listens at.
    pub(super) fn address(&self) -> SocketAddr {
        self.port.address
    }

    /// Takes the first connection that waits.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if none waits.
    pub(super) fn accept(&self) -> Result<(LocalStream, Handle), Errno> {
        self.waiting().pop_front().ok_or(Errno::Again)
    }

    /// Returns the number of connections that wait.
    pub(super) fn count(&self) -> usize {
        self.waiting().len()
    }
}

/// Connects to a listening socket of the same dyno. The connection is complete before it is accepted, as on Linux.
///
/// # Errors
///
/// `ECONNREFUSED` if no socket listens at `to`, or as many connections as it allows wait; `EMFILE` if the dyno has too many
/// descriptors for the other end; `EADDRINUSE` if all ports are taken.
pub(super) fn connect(
    context: &Arc<NetworkContext>,
    to: SocketAddr,
    port: Option<BoundPort>,
) -> Result<LocalStream, Errno> {
    let to = match to.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, to.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), to.port())
        }
        _ => to,
    };
    let backlog = {
        let ports = context.loopback.ports();
        match ports
            .find(Transport::Tcp, to)
            .map(|binding| &binding.target)
        {
            Some(BindingTarget::Listener(backlog)) => backlog.upgrade(),
            _ => None,
        }
    };
    let backlog = backlog.ok_or(Errno::Connrefused)?;
    let port = match port {
        Some(port) => port,
        None => bind(context, Transport::Tcp, SocketAddr::new(to.ip(), 0), false)?,
    };
    let handle = context.open_handle(0)?;
    let account = context.account();
    let from = match port.address.ip().is_unspecified() {
        true => SocketAddr::new(to.ip(), port.address.port()),
        false => port.address,
    };
    let ((near_reader, far_writer), (far_reader, near_writer)) =
        (channel(account), channel(account));
    let far = LocalStream {
        reader: far_reader,
        writer: far_writer,
        names: Some((to, from)),
        _port: None,
    };
    let mut waiting = backlog.waiting();
    if waiting.len() >= backlog.limit.load(Ordering::Relaxed) {
        return Err(Errno::Connrefused);
    }
    waiting.push_back((far, handle));
    Ok(LocalStream {
        reader: near_reader,
        writer: near_writer,
        names: Some((from, to)),
        _port: Some(port),
    })
}

impl LocalStream {
    /// Returns the two ends of a pair.
    pub(super) fn pair(context: &NetworkContext) -> (Self, Self) {
        let account = context.account();
        let ((one_reader, two_writer), (two_reader, one_writer)) =
            (channel(account), channel(account));
        let end = |reader, writer| Self {
            reader,
            writer,
            names: None,
            _port: None,
        };
        (end(one_reader, one_writer), end(two_reader, two_writer))
    }
}

/// Finds the queue that datagrams to an address of the dyno go to.
pub(super) fn inbox(context: &NetworkContext, to: SocketAddr) -> Option<Arc<Inbox>> {
    let ports = context.loopback.ports();
    match &ports.find(Transport::Udp, to)?.target {
        BindingTarget::Inbox(inbox) => inbox.upgrade(),
        _ => None,
    }
}
