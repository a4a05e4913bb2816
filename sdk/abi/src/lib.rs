//! Contracts between the crates of Corundum and its guests: names, the dyno ABI, and media types.
//!
//! A dyno is a WASI preview-1 reactor. It reads one SCGI request from [`EXCHANGE_DESCRIPTOR`] ([`scgi`]) and writes one CGI
//! response to it ([`cgi`], RFC 3875 section 6); descriptors 1 and 2 are its log. It gets everything else from files.
//! [`exports`] names the functions that the host calls, [`fibers`] those that a guest with fibers imports, and
//! [`run_stream`] frames the stream of `corundum run`.
//! [`public_address`] holds the rule for connections that an app may choose, which builds, log drains and dynos keep,
//! [`outbound`] the spelling of the targets that an app lists, and [`terminal_text`] the rule for text that an app may
//! choose, which its printers keep.
//!
//! This crate links no WebAssembly tools, no archive format and no async runtime, so that the router and the command
//! line can use it for its types alone.

#![forbid(unsafe_code)]

pub mod app_options;
pub mod cgi;
pub mod dyno_size;
pub mod exports;
pub mod fibers;
pub mod ip_network;
pub mod media;
pub mod names;
pub mod outbound;
pub mod public_address;
pub mod run_stream;
pub mod scgi;
pub mod terminal_text;

/// Version of the dyno ABI that this crate describes; a pack's manifest states the version that it was made for.
pub const VERSION: u32 = 2;

/// Descriptor that a guest reads requests from and writes responses to.
///
/// It is none of the standard streams, so that nothing a library prints gets into a response.
pub const EXCHANGE_DESCRIPTOR: u32 = 1000;

/// Descriptor of the client's connection while a guest serves a request whose head has [`CONNECTION_FIELD`].
///
/// A guest takes the connection over by a response with the status 101 and no header. It then writes the HTTP response, and everything
/// after it, to this descriptor, and returns when it has closed it.
pub const CONNECTION_DESCRIPTOR: u32 = 1001;

/// Field of a request's head which says that the guest may take the connection over.
pub const CONNECTION_FIELD: &str = "dyno.connection";

/// Status of a response by which a guest takes the connection over.
pub const CONNECTION_TAKEN: u16 = 101;
