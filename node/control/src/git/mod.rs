//! Git: bare repositories, the smart HTTP protocol, and pushes that become releases.
//!
//! `git push` reaches [`http_backend`], which runs git's own `http-backend`. Git runs the pre-receive hook ([`hook`]), a
//! process that passes the update over a socket in the data directory to [`hook_server`], which deploys it by [`push`]. Git
//! moves the branch only if the hook succeeds, so a failed build rejects the push.

pub(crate) mod collection;
pub mod hook;
pub mod hook_server;
pub mod http_backend;
pub mod push;
pub(crate) mod pushed_commit;
pub(crate) mod repository;
