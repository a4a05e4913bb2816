//! The pack format: a language runtime, prepared for booting apps, as a directory of plain files.
//!
//! A pack consists of WebAssembly modules whose memory and globals were moved out ([`split`]) into a data-only module
//! ([`image`]), a root filesystem ([`archive`]) and a [`Manifest`]. [`ruby`] prepares the packs of MRI, from npm
//! packages and from source ([`mri`], [`spill`]); [`transfer`] carries them to other machines. The host compiles and
//! boots packs: this crate links no engine, so that a tool or another language needs none.

#![forbid(unsafe_code)]

pub mod archive;
pub mod cache_usage;
mod cycles;
mod download;
pub mod extension;
pub mod image;
pub mod language;
mod manifest;
pub mod mri;
pub mod preemption;
mod process;
pub mod pruning;
pub mod ruby;
mod sample_app;
mod script;
mod section;
pub mod spill;
pub mod split;
pub mod stack_limit;
pub mod sysroot;
pub mod toolchain;
pub mod transfer;
pub mod validate;

pub use download::DownloadError;
pub use manifest::{Manifest, Member, PackDir, PackDirError};
pub use process::ProgramError;
pub use sample_app::{SampleApp, sample_app};
