//! The pack format: a language runtime made ready to boot apps, as a directory of plain files.
//!
//! A pack is made of WebAssembly modules whose memory and globals were moved out ([`split`]) into a data-only module
//! ([`image`]), a root filesystem ([`crate::archive`]) and a [`Manifest`]. [`ruby`] prepares the packs of MRI from
//! their npm packages. Compiling and booting is the host's part.

pub mod image;
mod manifest;
mod npm;
pub mod ruby;
pub mod split;
mod wasi_vfs;

pub use manifest::{Manifest, Member, PackDir, PackDirError};
