//! Builds, each in a child process.

pub(crate) mod process;
pub mod protocol;
