//! The rules for connections that a dyno opens: which addresses it may reach, and which names it may resolve.
//!
//! - [`policy`] holds what the operator decides for an app and may change while its dynos run: the default, the grants.
//! - [`rules`] decides about one endpoint or one name by the policy and the list of the app's release.
//! - `names` remembers what a dyno has resolved, since a connection shows an address and a list holds names.
//! - `own_address` tells the machine's own addresses from others.
//! - [`refusal`] says what to change; `refusal_log` bounds the lines of the app's log.
//! - `gate` puts these together for one dyno; host functions ask it before each connection, datagram and look-up.
//!
//! A dyno's own loopback is not the node's: the host functions serve it within the dyno, except for an endpoint that the
//! operator has granted ([`OutboundRules::reaches_node_loopback`]).

mod gate;
mod names;
mod own_address;
pub mod policy;
pub mod refusal;
mod refusal_log;
pub mod rules;

pub use gate::OutboundGate;
pub use policy::AppOutbound;
pub use refusal::{Refusal, RefusalReason};
pub use rules::OutboundRules;
