//! The router: listeners, routing by host, static files, the HTTP cache, compression, and error pages.
//!
//! [`server`] accepts connections, [`http1`] validates HTTP/1 before hyper parses it, and [`proxy`] takes each request
//! to its response. [`cache`] holds the rules and the storage of cached responses, [`semantics`] the rules of HTTP that
//! files and cache share. [`grid`] is the interface to the dynos, [`failure`] has every error code, and [`metrics`] the
//! counters.
//!
//! The router does not link the WebAssembly engine; its tests run against a grid of a few lines.

#![forbid(unsafe_code)]

pub mod acme_http01;
mod authority;
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
mod fair_pool;
pub mod files;
pub mod grid;
mod headers;
pub mod http1;
mod http2_head;
pub mod https_policy;
pub mod limits;
pub mod log_line;
pub mod metrics;
mod proxy;
pub mod request_id;
mod request_url;
pub mod router;
pub mod semantics;
pub mod server;
mod shutdown;
pub mod tls;
pub mod trusted_proxies;
mod validate;
pub mod virtual_host;
mod websocket;
