//! Random numbers of attacks that can be made again, and the number of their runs.

use std::fmt;
use std::time::SystemTime;

/// A xorshift generator.
pub(crate) struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    /// Uses the seed of `CORUNDUM_ATTACK_SEED`, or the time.
    pub(crate) fn new() -> Self {
        let set = std::env::var("CORUNDUM_ATTACK_SEED");
        let seed = set
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(|| {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                now.unwrap().as_nanos() as u64 | 1
            });
        Self { seed, state: seed }
    }

    /// Returns a number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % limit.max(1)
    }
}

impl fmt::Display for Dice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CORUNDUM_ATTACK_SEED={}", self.seed)
    }
}

/// Returns the number of runs of an attack: that of the variable `name`, or `few`.
pub(crate) fn runs(name: &str, few: usize) -> usize {
    let set = std::env::var(name).ok();
    set.map_or(few, |runs| runs.parse().expect("a number of runs"))
}
