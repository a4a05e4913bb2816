//! The dyno ABI, version 1: what a guest exports, and the two old, plain protocols that flow over its streams.
//!
//! A dyno is a WASI preview-1 reactor. It reads one SCGI request from descriptor 0 ([`scgi`]) and writes one CGI
//! response to descriptor 1 ([`cgi`], RFC 3875 section 6); descriptor 2 is the log. Files give it everything else.

pub mod cgi;
pub mod scgi;

/// The version of the ABI that this crate describes; a pack names the one it was made for.
pub const VERSION: u32 = 1;

/// Run once when a pack is prepared: the reactor's start.
pub const INITIALIZE: &str = "_initialize";
/// Run once while a release is made: load the app in `/app`; 0 means ready to snapshot. Descriptor 0 may hold sample
/// requests, each of which a read finds apart: a guest serves them, if it likes, to fill its caches.
pub const BOOT: &str = "dyno_boot";
/// Run once in every new dyno before its first request. Descriptor 0 holds what is new in it: its process number, a NUL,
/// its environment as `/proc/self/environ` has it, and one more NUL.
pub const RESTORE: &str = "dyno_restore";
/// Run once a request; 0 means served.
pub const HANDLE: &str = "dyno_handle";
/// Run instead of [`HANDLE`] for other process types; the result is the exit status.
pub const RUN: &str = "dyno_run";
/// Optional. Run once when a pack is prepared: the address of a byte in memory of which the host sets the lowest bit
/// whenever it ends a time slice, so that a guest can keep deadlines while it computes.
pub const INTERRUPT: &str = "dyno_interrupt";
