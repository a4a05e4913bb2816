//! Resolution of host names, by the host's own resolver.
//!
//! A lookup is a descriptor: it can be read when the name is resolved, so a dyno's other threads run meanwhile. The host's
//! resolver blocks, so each lookup that runs holds a helper thread of the runtime, never one that runs dynos; how many run
//! at once is limited ([`super::limits`]), and the others wait without a thread.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use wasi_common::snapshots::preview_1::types::Errno;

use super::NetworkContext;
use super::address::{self, EndName};

/// Time after which a lookup fails, the wait for its turn included. Resolvers give up after 10 s on their own.
const DEADLINE: Duration = Duration::from_secs(15);
/// Addresses of one name that are used.
const MAX_ADDRESSES: usize = 16;

type LookupResult = Result<Vec<IpAddr>, Errno>;

/// A lookup that runs or has ended.
pub(super) struct NameLookup {
    state: LookupState,
    /// Ends the lookup's task with its descriptor.
    task: Option<AbortHandle>,
}

enum LookupState {
    Running(oneshot::Receiver<LookupResult>),
    /// The bytes that are left to read.
    Found(Vec<u8>),
    Failed(Errno),
}

impl NameLookup {
    /// Begins to resolve `name`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it is not a name, `EACCES` if the dyno may not reach hosts of that name.
    pub(super) fn start(context: &Arc<NetworkContext>, name: &str) -> Result<Self, Errno> {
        if let Some(own) = own_addresses(context, name) {
            return Ok(Self {
                state: LookupState::Found(encode(&own)),
                task: None,
            });
        }
        let name = context.access.check_name(name)?;
        let (sender, receiver) = oneshot::channel();
        let context = context.clone();
        let lookup = async move {
            let found = tokio::time::timeout(DEADLINE, look_up(&context, &name)).await;
            let found = found.unwrap_or(Err(Errno::Timedout));
            let found = found.and_then(|found| context.access.admit(&name, &found));
            // A dyno that has closed the descriptor wants no result.
            let _ = sender.send(found);
        };
        Ok(Self {
            state: LookupState::Running(receiver),
            task: Some(tokio::spawn(lookup).abort_handle()),
        })
    }

    fn settle(&mut self, result: Result<LookupResult, oneshot::error::RecvError>) {
        self.state = match result {
            Ok(Ok(addresses)) => LookupState::Found(encode(&addresses)),
            Ok(Err(errno)) => LookupState::Failed(errno),
            Err(_) => LookupState::Failed(Errno::Again),
        };
    }

    /// Reads addresses. Returns 0 after the last one.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the lookup has not ended, `ENOENT` if the name has no address, `ETIMEDOUT` if the resolver does not
    /// answer.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        if let LookupState::Running(receiver) = &mut self.state {
            match receiver.try_recv() {
                Ok(result) => self.settle(Ok(result)),
                Err(oneshot::error::TryRecvError::Empty) => return Err(Errno::Again),
                Err(oneshot::error::TryRecvError::Closed) => {
                    self.state = LookupState::Failed(Errno::Timedout)
                }
            }
        }
        match &mut self.state {
            LookupState::Found(bytes) => {
                let length = bytes.len().min(buffer.len());
                buffer[..length].copy_from_slice(&bytes[..length]);
                bytes.drain(..length);
                Ok(length)
            }
            LookupState::Failed(errno) => Err(*errno),
            LookupState::Running(_) => Err(Errno::Again),
        }
    }

    /// Returns whether the lookup has ended, or has the task woken when it does.
    pub(super) fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<()> {
        if let LookupState::Running(receiver) = &mut self.state {
            let result = std::task::ready!(std::pin::Pin::new(receiver).poll(task));
            self.settle(result);
        }
        Poll::Ready(())
    }
}

impl Drop for NameLookup {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Returns the addresses of names that are the dyno itself.
fn own_addresses(context: &NetworkContext, name: &str) -> Option<Vec<IpAddr>> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let mut environ = context.filesystem.process().environ();
    let is_dyno = environ.any(|(key, value)| key == "DYNO" && value.eq_ignore_ascii_case(&name));
    (is_dyno || name == "dyno").then(|| vec![address::OWN.into()])
}

async fn look_up(context: &NetworkContext, name: &str) -> LookupResult {
    let permit = context.account().network().take_lookup().await;
    let permit = permit.ok_or(Errno::Again)?;
    let name = name.to_owned();
    let looked_up = tokio::task::spawn_blocking(move || {
        // The resolver cannot be stopped, so the permission ends with it and not with the dyno.
        let _permit = permit;
        let found = (name.as_str(), 0).to_socket_addrs();
        found.map(|found| {
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found {
                let ip = address.ip().to_canonical();
                if addresses.len() < MAX_ADDRESSES && !addresses.contains(&ip) {
                    addresses.push(ip);
                }
            }
            addresses
        })
    });
    match looked_up.await {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(Errno::Noent),
        Ok(Ok(addresses)) => Ok(addresses),
        // The standard library tells "not found" from "try again" by text alone. A name that does not exist is by far the
        // more frequent cause.
        Ok(Err(error)) if error.to_string().contains("emporary") => Err(Errno::Timedout),
        Ok(Err(_)) => Err(Errno::Noent),
        Err(_) => Err(Errno::Timedout),
    }
}

fn encode(addresses: &[IpAddr]) -> Vec<u8> {
    let bytes = |ip: &IpAddr| address::bytes(Some(EndName::Inet(SocketAddr::new(*ip, 0))));
    addresses.iter().flat_map(bytes).collect()
}
