//! A connection or a look-up that the rules refuse, with the change that would allow it.

use std::fmt;
use std::net::SocketAddr;

use corundum_abi::outbound::{OutboundTarget, Transport};

/// A refused connection or look-up. Its text is the line of the app's log; the guest gets `EACCES`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refusal {
    pub(super) attempt: RefusedAttempt,
    pub(super) reason: RefusalReason,
}

/// The attempt that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum RefusedAttempt {
    /// A connection or a datagram, with the name that the dyno resolved to the address.
    Endpoint {
        address: SocketAddr,
        transport: Transport,
        name: Option<String>,
    },
    /// A look-up of a name.
    Name(String),
}

/// The rule that refuses an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// The app has a list, and the target is not in it.
    NotListed,
    /// The node wants a list, and the app has none.
    NoList,
    /// The node lets apps reach granted targets only.
    NotGranted,
    /// The address is in a private network.
    Private,
    /// The address is the machine itself, a neighbour on its link, or one that stands for another.
    Machine,
    /// Nothing can be granted at this address: it is no single machine.
    Never,
    /// The name is not one of the DNS.
    InvalidName,
}

impl Refusal {
    /// Returns the rule that refused the attempt.
    pub fn reason(&self) -> RefusalReason {
        self.reason
    }

    /// Returns the entry of a list, or the grant, that would allow the attempt.
    fn target(&self) -> String {
        match &self.attempt {
            RefusedAttempt::Endpoint {
                address,
                transport,
                name,
            } => {
                let by_name = name
                    .as_deref()
                    .filter(|_| self.reason != RefusalReason::Machine)
                    .and_then(|name| OutboundTarget::of_name(name, address.port(), *transport));
                let by_address =
                    || OutboundTarget::of_address(address.ip(), address.port(), *transport);
                by_name.unwrap_or_else(by_address).to_string()
            }
            RefusedAttempt::Name(name) => match self.reason {
                RefusalReason::Private | RefusalReason::Machine => format!("tcp://{name}:PORT"),
                _ => format!("https://{name}"),
            },
        }
    }
}

impl fmt::Display for RefusedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint {
                address,
                transport,
                name,
            } => {
                let kind = match transport {
                    Transport::Tcp => "connection",
                    Transport::Udp => "datagram",
                };
                let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                match name {
                    Some(name) => write!(f, "{kind} to {name} ({address})"),
                    None => write!(f, "{kind} to {address}"),
                }
            }
            Self::Name(name) => write!(f, "look-up of {name}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempt, reason } = self;
        let target = self.target();
        match reason {
            RefusalReason::NotListed => write!(
                f,
                "outbound {attempt} refused: the app's list does not have it; add \"{target}\" to \"outbound\" in app.json"
            ),
            RefusalReason::NoList => write!(
                f,
                "outbound {attempt} refused: this node wants a list; add \"outbound\": [\"{target}\"] to app.json"
            ),
            RefusalReason::NotGranted => write!(
                f,
                "outbound {attempt} refused: this node allows granted targets only; the operator allows it by: corundum outbound:add {target}"
            ),
            RefusalReason::Private => write!(
                f,
                "outbound {attempt} refused: the address is private; the operator allows it by: corundum outbound:add {target}"
            ),
            RefusalReason::Machine => write!(
                f,
                "outbound {attempt} refused: the address belongs to the node or its link; the operator allows it by: corundum outbound:add {target}"
            ),
            RefusalReason::Never => {
                write!(
                    f,
                    "outbound {attempt} refused: the address is not one of a single machine"
                )
            }
            RefusalReason::InvalidName => {
                write!(f, "outbound {attempt} refused: it is not a name of the DNS")
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl RefusedAttempt {
    /// Describes a connection.
    pub(super) fn endpoint(address: SocketAddr, transport: Transport, name: Option<&str>) -> Self {
        Self::Endpoint {
            address,
            transport,
            name: name.map(str::to_owned),
        }
    }

    /// Describes a look-up of text that a guest chose.
    pub(super) fn name(text: &str) -> Self {
        let shown = text.chars().take(253).filter(|c| !c.is_control());
        Self::Name(shown.collect())
    }
}
