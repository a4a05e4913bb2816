//! The router's view of apps.

pub(crate) mod grid_adapter;
pub(crate) mod pages;
pub(crate) mod static_files;
pub(crate) mod virtual_hosts;
