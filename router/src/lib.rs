//! The router: listeners, routing by host, and what a client gets when no dyno answers.
//!
//! [`server`] accepts connections, [`connection`] serves one, [`proxy`] takes each request through its life. [`grid`]
//! is the interface to dynos, [`failure`] lists every failure that a client or a log can show, [`semantics`] holds the
//! rules of HTTP that static files and the cache share, and [`metrics`] counts. The router does not link the engine: its
//! tests run against a grid of a few lines.

#![forbid(unsafe_code)]

pub mod acme_http01;
mod body;
pub mod cache;
pub mod client_info;
pub mod compress;
mod concurrency_limit;
mod connection;
mod connection_state;
pub mod custom_error_pages;
mod error_page;
pub mod failure;
pub mod files;
pub mod grid;
mod headers;
pub mod http1;
pub mod https_policy;
pub mod limits;
pub mod log_line;
pub mod metrics;
mod proxy;
pub mod request_id;
pub mod router;
pub mod semantics;
pub mod server;
pub mod tls;
mod validate;
pub mod virtual_host;
