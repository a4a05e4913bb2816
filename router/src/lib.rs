//! The router: listeners, routing by host, and what a client gets when no dyno answers.
//!
//! [`server`] accepts connections, [`service`] takes a request through its life, [`grid`] is the little the router
//! knows of dynos, and [`failure`] holds every code of the contract. The router never links the engine: its tests run
//! against a grid of a few lines.

#![forbid(unsafe_code)]

pub mod body;
mod error_page;
pub mod failure;
mod gateway;
pub mod grid;
mod headers;
pub mod log_line;
pub mod server;
mod service;
mod traffic;
