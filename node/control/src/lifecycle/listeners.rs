//! The sockets on which a node listens: received from systemd, or opened by the node.
//!
//! They are opened before anything else, so that an address in use is reported at once, and belong to no runtime until one
//! accepts from them.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};

use listenfd::ListenFd;
use tokio::net::TcpListener;

/// Connections that the kernel queues until they are accepted, if `net.core.somaxconn` allows it. A client beyond these
/// tries again after a second.
const BACKLOG: i32 = 4096;

/// The order of systemd's sockets if they have no names.
const ORDER: [ListenerName; 4] = [
    ListenerName::Http,
    ListenerName::Api,
    ListenerName::Admin,
    ListenerName::Https,
];

/// A listener of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListenerName {
    Http,
    Https,
    Api,
    Admin,
}

impl ListenerName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Api => "api",
            Self::Admin => "admin",
        }
    }
}

/// A listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("cannot listen on {address} (choose another with --{option}): {cause}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The option that sets it.
        option: &'static str,
        /// The cause.
        cause: io::Error,
    },
    /// systemd passed a socket that is not a TCP listener.
    #[error("socket {index} of systemd: {cause}")]
    Socket {
        /// Its index, from 0.
        index: usize,
        /// The cause.
        cause: io::Error,
    },
}

/// The addresses that the operator has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddresses {
    /// Apps over plain HTTP.
    pub http: SocketAddr,
    /// Apps over HTTPS.
    pub https: Option<SocketAddr>,
    /// The API and git.
    pub api: SocketAddr,
    /// Metrics and health checks.
    pub admin: SocketAddr,
}

/// The sockets that systemd has passed to this process (sd_listen_fds(3)).
#[derive(Debug, Default)]
pub struct SystemdSockets {
    http: Option<StdListener>,
    https: Option<StdListener>,
    api: Option<StdListener>,
    admin: Option<StdListener>,
}

impl SystemdSockets {
    /// Takes the sockets from the environment: by `FileDescriptorName=` if they are named `http`, `https`, `api` or `admin`,
    /// otherwise in the order http, api, admin, https. To be called before the process starts threads, since it changes
    /// the environment.
    ///
    /// # Errors
    ///
    /// A descriptor is not a TCP listener.
    pub fn from_env() -> Result<Self, ListenError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut sockets = Self::default();
        for (index, name) in roles(&names, passed.len()).into_iter().enumerate() {
            let Some(name) = name else { continue };
            let taken = passed.take_tcp_listener(index).and_then(|socket| {
                if let Some(socket) = &socket {
                    socket.set_nonblocking(true)?;
                }
                Ok(socket)
            });
            let socket = taken.map_err(|cause| ListenError::Socket { index, cause })?;
            *sockets.slot(name) = socket;
        }
        Ok(sockets)
    }

    fn slot(&mut self, name: ListenerName) -> &mut Option<StdListener> {
        match name {
            ListenerName::Http => &mut self.http,
            ListenerName::Https => &mut self.https,
            ListenerName::Api => &mut self.api,
            ListenerName::Admin => &mut self.admin,
        }
    }
}

/// Returns the listener for each of `count` sockets with the names in `names`, which are separated by colons.
fn roles(names: &str, count: usize) -> Vec<Option<ListenerName>> {
    let by_name = |name: &str| ORDER.into_iter().find(|known| known.as_str() == name);
    let names: Vec<Option<ListenerName>> = names.split(':').map(by_name).collect();
    let named = names.iter().any(Option::is_some);
    let role = |index: usize| {
        let roles = if named {
            names.get(index).copied()
        } else {
            ORDER.get(index).copied().map(Some)
        };
        roles.flatten()
    };
    (0..count).map(role).collect()
}

/// A node's listening sockets.
#[derive(Debug)]
pub struct Listeners {
    /// Apps over plain HTTP.
    pub http: StdListener,
    /// Apps over HTTPS.
    pub https: Option<StdListener>,
    /// The API and git.
    pub api: StdListener,
    /// Metrics and health checks.
    pub admin: StdListener,
}

impl Listeners {
    /// Uses the sockets of systemd and opens the others. To be called within a runtime.
    ///
    /// # Errors
    ///
    /// An address cannot be bound.
    pub async fn open(
        addresses: ListenAddresses,
        sockets: SystemdSockets,
    ) -> Result<Self, ListenError> {
        let https = match (sockets.https, addresses.https) {
            (Some(socket), _) => Some(socket),
            (None, Some(address)) => Some(open(address, ListenerName::Https).await?),
            (None, None) => None,
        };
        let or_open = async |socket: Option<StdListener>, address, name| match socket {
            Some(socket) => Ok(socket),
            None => open(address, name).await,
        };
        Ok(Self {
            https,
            http: or_open(sockets.http, addresses.http, ListenerName::Http).await?,
            api: or_open(sockets.api, addresses.api, ListenerName::Api).await?,
            admin: or_open(sockets.admin, addresses.admin, ListenerName::Admin).await?,
        })
    }

    /// Duplicates the descriptors.
    ///
    /// # Errors
    ///
    /// The process is out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let https = self.https.as_ref().map(StdListener::try_clone);
        Ok(Self {
            http: self.http.try_clone()?,
            https: https.transpose()?,
            api: self.api.try_clone()?,
            admin: self.admin.try_clone()?,
        })
    }

    /// Returns the addresses of the sockets, with the ports that the kernel has chosen.
    ///
    /// # Errors
    ///
    /// The kernel does not report an address.
    pub fn addresses(&self) -> io::Result<ListenAddresses> {
        let https = self.https.as_ref().map(StdListener::local_addr);
        Ok(ListenAddresses {
            https: https.transpose()?,
            http: self.http.local_addr()?,
            api: self.api.local_addr()?,
            admin: self.admin.local_addr()?,
        })
    }
}

async fn open(address: SocketAddr, name: ListenerName) -> Result<StdListener, ListenError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?.into_std()?;
        // Tokio's own backlog is 1,024.
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    };
    bound.await.map_err(|cause| ListenError::Bind {
        address,
        option: name.as_str(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_sockets_are_assigned_by_name_or_by_order() {
        use ListenerName::{Admin, Api, Http, Https};
        assert_eq!(roles("https:http", 2), [Some(Https), Some(Http)]);
        assert_eq!(roles("admin:unknown", 2), [Some(Admin), None]);
        let unnamed = "corundum.socket:corundum.socket:corundum.socket";
        assert_eq!(roles(unnamed, 3), [Some(Http), Some(Api), Some(Admin)]);
        assert_eq!(
            roles("", 5),
            [Some(Http), Some(Api), Some(Admin), Some(Https), None]
        );
        assert!(roles("", 0).is_empty());
    }
}
