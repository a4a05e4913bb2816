//! Packs: prepared once on a machine, opened once by a process.

pub mod open;
pub(crate) mod upgrade;
