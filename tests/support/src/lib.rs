//! Fixtures that the tests and benchmarks of all crates share. Crates depend on it in `[dev-dependencies]` only.
//!
//! | module | fixture |
//! |---|---|
//! | [`node`] | a running `corundum server` with its own home directory, driven by the CLI, git and HTTP |
//! | [`app_gems`] | nodes with the gems of usual apps, and services |
//! | [`http1`] | blocking HTTP/1.1 clients that send raw bytes |
//! | [`gem_package`], [`gem_server`] | `.gem` files, and a server of the compact index that can misbehave |
//! | [`certificates`] | certificate authorities, certificates and TLS servers |
//! | [`process`], [`ports`] | servers of Debian's packages, free ports |
//! | [`postgres`] | a PostgreSQL server |
//! | [`memory_group`] | control groups with a limit of memory |
//! | [`module_pack`] | packs of one module in WebAssembly's text format |
//! | [`wait`] | polling with a deadline |
//! | [`websocket`] | a client of WebSockets |
//! | [`noise`] | bytes that do not compress |

#![allow(
    clippy::unwrap_used,
    reason = "a fixture that fails has to fail its test"
)]

pub mod app_gems;
pub mod certificates;
pub mod gem_package;
pub mod gem_server;
pub mod http1;
pub mod memory_group;
pub mod module_pack;
pub mod node;
pub mod noise;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod wait;
pub mod websocket;
