//! Types that the router and the host exchange: bodies, the interruption of a body, connections that a dyno takes over, and the
//! cost of a request.
//!
//! The router depends on no WebAssembly engine and the host on no HTTP library. Both use these types, so that a body
//! crosses from one to the other as it is, without a task or a copy between them.
//!
//! [`BoundedCounter`] is here because both sides bound what they keep with it: dynos, bytes of dynos' memory, and
//! bytes of bodies.

#![forbid(unsafe_code)]

mod body;
mod connection;
mod counter;
mod usage;

pub use body::{BodyInterrupted, BodyReceiver, BodyStream, DynoBody, RequestBody};
pub use connection::{ClientConnection, ConnectionLink};
pub use counter::{BoundedCounter, Reservation};
pub use usage::RequestUsage;
