//! Git: bare repositories, the smart HTTP protocol, and pushes that become releases.
//!
//! `git push` reaches [`http_backend`], which runs git's own `http-backend` under the limits of [`command`]. Git runs the
//! hooks ([`hook`]), processes that pass the update over a socket in the data directory to [`hook_server`]. The first has
//! [`push`] build the commit; git refuses the push if that fails. The second makes the release and moves the branch
//! ([`ref_transaction`]); [`intent`] keeps the two in step over a crash. [`pushed_tree`] reads the tree within bounds.

pub(crate) mod collection;
pub(crate) mod command;
mod first_formation;
pub mod hook;
pub mod hook_server;
pub mod http_backend;
pub(crate) mod intent;
pub(crate) mod object_reader;
mod postdeploy;
pub mod push;
pub(crate) mod pushed_commit;
pub(crate) mod pushed_tree;
pub mod receiving;
pub(crate) mod ref_transaction;
pub(crate) mod repository;
pub(crate) mod updates;
