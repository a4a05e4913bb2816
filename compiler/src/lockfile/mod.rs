//! `Gemfile.lock`: the gems of an app with their versions, origins and checksums.

mod gems;
mod parser;

pub use self::gems::{GemOrigin, LockedGem, LockedRepository, Lockfile};
pub use self::parser::LockfileError;
