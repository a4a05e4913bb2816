//! Requests of a build to the process that carries it out, such as to run a compiler.
//!
//! A build runs a gem's `extconf.rb` in a dyno, which starts no processes. It passes its commands on here; the runner decides
//! what to do with them. Any other dyno has no runner.

pub(crate) mod imports;

use std::sync::Arc;

/// The process that carries out a dyno's requests.
pub trait ToolRunner: Send + Sync {
    /// Carries out a request and returns the answer. It may block.
    fn run(&self, request: &[u8]) -> Vec<u8>;
}

/// The runner of a dyno's requests, and an answer that the guest has not taken yet.
#[derive(Default)]
pub(crate) struct DynoTools {
    pub(crate) runner: Option<Arc<dyn ToolRunner>>,
    answer: Vec<u8>,
}
