//! Requests and responses of the node's HTTP API.
//!
//! The server and the command line share these types, so a field that one side renames does not compile on the other.
//! They follow Heroku's Platform API v3, and each resource has a file of its own. Resources that v3 does not have
//! ([`autoscale`], [`cache`], [`metrics`], [`outbound`], [`settings`], [`storage`]) and additional fields of v3's resources say so.
//!
//! Rules that all of them keep:
//!
//! - Every field of a resource is always serialised. An unknown value is `null`, since clients of v3 fail on absent fields.
//! - References are objects ([`reference`]), and paths take a UUID or a name ([`Identity`]).
//! - Requests ignore unknown fields, take numbers as strings ([`lenient`]) and tell an absent field from `null`
//!   ([`Patch`]).
//! - Times are RFC 3339 in UTC with whole seconds, and keys are UUIDs.

#![forbid(unsafe_code)]

pub mod account;
pub mod acm;
pub mod addon;
pub mod addon_backup;
pub mod app;
pub mod authorization;
pub mod autoscale;
pub mod build;
pub mod cache;
pub mod config_vars;
pub mod cron;
pub mod domain;
pub mod dyno;
pub mod error;
pub mod formation;
pub mod identity;
pub mod lenient;
pub mod log_drain;
pub mod log_session;
pub mod login;
pub mod metrics;
pub mod one_off;
pub mod outbound;
pub mod patch;
pub mod reference;
pub mod release;
pub mod settings;
pub mod sni_endpoint;
pub mod storage;
pub mod upgrade;
pub mod usage;
pub mod volume_snapshot;

pub use error::{ErrorId, ErrorResource};
pub use identity::Identity;
pub use patch::Patch;

#[cfg(test)]
mod fields;
