//! The standard streams, the signals and the terminal of a one-off dyno.
//!
//! A [`RunSession`] is shared by the dyno of a command and the client that started it: the client's input waits in it, bounded,
//! and the dyno's output leaves it through a short channel. With a terminal, the input passes the [`line_discipline`] first.
//! [`streams`] makes a session the descriptors 0, 1 and 2; [`host_functions`] are what a guest calls to
//! receive signals and to change the terminal.

pub(crate) mod host_functions;
mod line_discipline;
mod log_output;
mod session;
pub(crate) mod streams;

pub use log_output::log_output;
pub use session::{InputOverflow, RunOutput, RunSession, StandardOutput};
