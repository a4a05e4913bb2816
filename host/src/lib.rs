//! The dyno grid: images of booted apps, and the sandboxed copies of them that serve requests.
//!
//! Here live the engine and its limits ([`engine`], [`capacity`]), the virtual operating system that a dyno sees ([`os`]), packs,
//! slugs and images made ready to run ([`pack`], [`slug`], [`image`]), one dyno's life ([`dyno`]), the boot of a release ([`boot`]) and the
//! grid that starts, keeps and replaces dynos ([`grid`]). What flows in and out is a request's SCGI head with a body
//! and a typed response: there is no HTTP here, and no git.
//!
//! The host knows the dyno ABI and nothing of any language. `native` is the one module with `unsafe` code.

#![deny(unsafe_code)]

pub mod boot;
pub mod capacity;
mod compiled;
pub mod dyno;
pub mod engine;
pub mod exchange;
pub mod grid;
pub mod image;
pub mod log;
mod memory;
mod native;
pub mod os;
pub mod pack;
pub mod sample;
mod slices;
pub mod slug;
mod wasi;
