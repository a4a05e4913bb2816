//! What every part of Corundum agrees on, and the guest side of every language.
//!
//! Here live the names that cross crates, the dyno ABI (what a guest exports and what flows over its standard
//! streams), the archive format of slugs and of a pack's root filesystem, and the pack format with the packs
//! themselves. Nothing here runs WebAssembly: this crate never links an engine, so a language can be added or a
//! tool be written without one.

#![forbid(unsafe_code)]

pub mod abi;
pub mod archive;
pub mod media;
pub mod names;
pub mod pack;
pub mod run_stream;
