//! Git: repositories, the smart HTTP protocol, the pre-receive hook and pushes.

pub mod hook;
pub mod http_backend;
pub(crate) mod push;
