//! Packs: prepared once on a machine, opened once by a process, replaced by better ones while the node serves.

pub mod cache;
pub mod open;
pub mod pruning;
pub mod upgrade;
