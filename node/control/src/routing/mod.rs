//! The router's view of apps: virtual hosts, static files, custom pages, and the grid behind the router's interface.

pub(crate) mod error_pages;
pub mod grid_adapter;
pub(crate) mod static_files;
pub mod view;
pub(crate) mod virtual_hosts;
