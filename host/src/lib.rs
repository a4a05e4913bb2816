//! The dyno grid: images of booted apps, and the sandboxed copies of them that serve requests.
//!
//! - [`engine`] and [`capacity`] hold the WebAssembly engine and its limits.
//! - [`account`] counts everything that the host holds for a dyno against the node's reserve of memory.
//! - [`os`] is the virtual operating system that a dyno sees; `stdio` connects its standard streams.
//! - [`volume`] has the persistent directory of an app, which its dynos share.
//! - [`outbound`] decides which addresses a dyno may reach.
//! - `net` has the sockets of dynos and the resolution of names.
//! - [`pack`], [`slug`] and [`image`] open what a dyno is made of: a runtime, an app's files, an app's booted memory.
//! - [`console`] has the streams, signals and terminal of a command.
//! - [`boot`] boots a release and writes its image.
//! - [`dyno`] is one dyno and its calls; [`grid`] starts, keeps and replaces dynos.
//!
//! A request comes in as an SCGI head with a body and leaves as a typed response ([`request`]). This crate contains no
//! HTTP and no git. It knows the dyno ABI, but no language. `native` is the only module with `unsafe` code.

#![deny(unsafe_code)]

pub mod account;
pub mod boot;
pub mod capacity;
mod cgroup;
mod compiled;
pub mod console;
pub mod dyno;
pub mod engine;
pub mod extensions;
mod fibers;
pub mod grid;
mod guest_state;
pub mod image;
mod loaded_image;
pub mod log;
pub mod memory;
mod native;
mod net;
pub mod os;
pub mod outbound;
pub mod pack;
mod preemption;
mod private_pages;
pub mod request;
mod reserve;
pub mod sample_request;
mod sample_session;
mod slots;
pub mod slug;
pub mod stdio;
pub mod tools;
pub mod volume;
mod wasi;

pub use native::set_time_slice;
