//! The client commands of `corundum`: each talks to a node over its HTTP API and prints the result.
//!
//! Every command has a file of its topic in [`commands`]: `corundum releases` is `commands/releases.rs`. They share
//! [`client`] (requests), [`upgrade`] (streams in both directions), [`login`] and [`netrc`] (the token), [`app_option`] (the app that a command is for) and
//! [`output`], [`table`] and [`units`] (what they print). This crate knows the API's types and not the server.

#![forbid(unsafe_code)]

mod app_option;
mod client;
mod commands;
mod login;
mod netrc;
pub mod output;
pub mod table;
mod tunnel;
mod units;
mod upgrade;

pub use commands::ClientCommand;
