//! The pack format: a language runtime made ready to boot apps, as a directory of plain files.
//!
//! A pack is made of WebAssembly modules whose memory and globals were moved out ([`split`]) into a data-only module
//! ([`image`]), a root filesystem ([`crate::archive`]) and a [`Manifest`]. [`ruby`] prepares the packs of MRI,
//! from npm packages and from source ([`mri`], [`roots`]); [`transfer`] carries them to other machines. Compiling and booting is the host's part.

pub mod image;
mod manifest;
pub mod mri;
pub mod roots;
pub mod ruby;
mod section;
pub mod slices;
pub mod split;
pub mod transfer;

pub use manifest::{Manifest, Member, PackDir, PackDirError};
