//! The router: listeners, routing by host, and what a client gets when no dyno answers.
//!
//! [`server`] accepts connections, [`service`] takes a request through its life, [`grid`] is the little the router
//! knows of dynos, [`failure`] holds every code of the contract, and [`figures`] what is counted. The router never links the engine: its tests run
//! against a grid of a few lines.

#![forbid(unsafe_code)]

mod ask;
pub mod body;
mod budget;
mod byte_range;
pub mod cache;
pub mod challenges;
mod check;
pub mod coding;
pub mod compress;
pub mod connection;
mod error_page;
mod exchange;
pub mod failure;
pub mod figures;
pub mod files;
mod gateway;
pub mod grid;
pub mod guard;
mod headers;
pub mod https;
mod inflow;
pub mod limits;
mod load;
pub mod log_line;
mod outflow;
pub mod own_page;
mod reply;
pub mod request_id;
pub mod router;
pub mod server;
mod service;
mod serving;
pub mod site;
pub mod tls;
mod traffic;
