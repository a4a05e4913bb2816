//! The process boundary around a build: the node starts a child process, which compiles one untrusted app under limits.
//!
//! [`parent`] runs in the node. It starts the child, feeds it a framed [`protocol::BuildRequest`] and the app's tree,
//! relays its output to the pusher and stops it after its time. [`child`] runs in the hidden command `compile`: it
//! lowers its own [`limits`], reads the request and runs the pipeline of `corundum-compiler`. [`slots`] bounds the memory
//! that all children of a node may take.
//!
//! This crate links no engine. The binary passes the child a sandbox that it makes with `corundum-host`.

#![forbid(unsafe_code)]

pub mod child;
pub mod limits;
pub mod parent;
pub mod protocol;
pub mod slots;

pub use limits::BuildLimits;
pub use parent::{
    BuildJob, BuildProcessError, BuildSettings, BuildSource, FinishedBuild, TreeStream,
};
