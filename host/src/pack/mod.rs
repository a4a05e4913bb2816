//! Packs that dynos can be created from: their code compiled once per engine and kept, their runtime started once and
//! kept as a base image.

pub(crate) mod linked;
pub(crate) mod open;

pub use linked::{LinkError, Pack};
pub use open::{OpenStep, PackError};
