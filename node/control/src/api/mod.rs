//! The HTTP API: JSON for the command line and other clients, and git's smart HTTP protocol on the same listener.
//!
//! [`server`] accepts connections, [`router`] finds the handler of a request, and each resource has a file of handlers, which
//! take only the parts of the node that they need. [`resources`] makes the types of [`corundum_api`]. [`auth`] checks tokens; [`login`] issues the first one over a socket in
//! the data directory. [`error`] turns errors into responses: an error is the client's fault (4xx) only if it says so, and
//! the node's (500) otherwise. A dashboard would be served beside these handlers, from a folder of its own.

mod account;
mod acm;
mod addon_backups;
mod addons;
mod apps;
mod auth;
mod authorizations;
mod autoscale;
mod builds;
mod cache;
mod config_vars;
mod cron;
mod domains;
mod dynos;
mod error;
mod formation;
mod log_drains;
mod log_sessions;
pub mod login;
mod metrics;
mod outbound;
mod providers;
mod releases;
mod resources;
pub(crate) mod response;
pub mod router;
mod run;
pub(crate) mod server;
mod settings;
mod sni_endpoints;
pub mod storage;
mod tunnel;
mod upgrade;
mod usage;
mod volume_snapshots;
