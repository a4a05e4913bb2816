//! The disk: which files are in use, the trash, and what it all takes.
//!
//! [`live_files`] decides which slugs, images and repositories are alive. Nothing else may delete one of them, and it does so
//! only on complete, error-free knowledge: every record of every app and release was read, and every file that they name
//! exists. Files go to the [`trash`] first and are deleted after a grace period.
//!
//! [`retention`] and [`usage`] bound what apps take, [`housekeeping`] works in the background. [`backup`] and [`restore`] carry a
//! node to another machine.

mod archive;
pub mod backup;
pub mod housekeeping;
pub mod live_files;
pub mod restore;
pub mod retention;
mod snapshot;
pub mod trash;
mod trees;
pub mod usage;
pub(crate) mod volume_copies;
