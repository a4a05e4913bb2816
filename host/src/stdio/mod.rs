//! A dyno's requests and responses, the two directions of [`corundum_abi::EXCHANGE_DESCRIPTOR`].
//!
//! A response is collected and sent in one piece when the guest has served the request. If the guest starts to wait,
//! uses up its time slice or writes more than 64 KiB, the bytes so far are sent at once and the rest follows through a
//! short channel. A small response therefore costs one hand-over, a streamed one is never held back, and a slow client
//! slows the guest down instead of filling the node's memory.

mod input;
mod output;

pub(crate) use input::Input;
pub(crate) use output::Output;
pub use output::OutputError;
