//! The HTTP API: JSON for the command line and other clients, and git's smart HTTP protocol on the same listener.
//!
//! [`server`] accepts connections, [`router`] finds the handler of a request, and each resource has a file of handlers, which
//! take only the parts of the node that they need. [`auth`] checks tokens; [`login`] issues the first one over a socket in
//! the data directory. [`error`] turns errors into responses: an error is the client's fault (4xx) only if it says so, and
//! the node's (500) otherwise. A dashboard would be served beside these handlers, from a folder of its own.

mod acme;
mod apps;
mod auth;
mod autoscale;
mod cache;
mod certs;
mod config_vars;
mod domains;
mod drains;
mod dynos;
mod error;
pub mod login;
mod metrics;
mod releases;
pub(crate) mod response;
pub mod router;
pub(crate) mod server;
mod settings;
mod streams;
