//! `Gemfile.lock`: the gems of an app with their versions, origins and checksums.

mod gems;
mod parser;

pub use self::gems::{GemOrigin, LockedGem, Lockfile};
pub use self::parser::LockfileError;
