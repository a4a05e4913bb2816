//! The control plane of a node: everything that changes what the node serves, and the view of it that the router reads.

#![forbid(unsafe_code)]

pub mod acme;
mod admin;
mod api;
mod apps;
pub mod certs;
pub mod config;
mod domains;
pub mod drains;
pub mod git;
mod lifecycle;
mod logs;
mod metrics;
pub mod packs;
mod platform;
mod routing;
mod secret;
pub mod server;
