//! The protocol between the node and the compile process: a [`Request`] as JSON after its length on standard input, then
//! the app's tree as a tar stream; the result is a file with an [`Outcome`].

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use corundum_abi::names::SlugDigest;
use corundum_compiler::gems::GemSource;
use corundum_compiler::slug::Description;
use corundum_host::boot::BootLimits;
use serde::{Deserialize, Serialize};

/// How far whatever computes for long stands behind the router's threads: dynos that do, and builds. Measured with eight
/// dynos that loop on two processors, the 99th percentile of a neighbour's answers was 4 ms at 5, 2 to 4 ms at 10, and at
/// 15 below 2 ms, about what it is without them.
pub const NICE: i32 = 15;
/// The status of a process that has said why there is no slug.
pub const REFUSED: i32 = 1;
/// What an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// For an app to load, and for its Gemfile to be evaluated.
    pub boot: Duration,
    /// Bytes of a slug.
    pub slug: u64,
}

impl Default for Limits {
    /// Heroku's.
    fn default() -> Self {
        Self {
            boot: BootLimits::default().boot,
            slug: 500 << 20,
        }
    }
}

/// What is to be compiled.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The pack, prepared.
    pub pack: PathBuf,
    /// An existing slug, when only the image is to be made; otherwise the tree follows.
    pub slug: Option<PathBuf>,
    /// Where the results go: `slug.tar`, `image` and `result.json`.
    pub directory: PathBuf,
    /// Its limits.
    pub limits: Limits,
    /// Gem directories of the node.
    pub gems: Vec<PathBuf>,
    /// Gem servers that may be asked.
    pub gem_sources: Vec<GemSource>,
    /// The node's cache of gems, on the file system of `directory`.
    pub gem_cache: PathBuf,
    /// Where the app is served, with a port.
    pub host: String,
    /// The app's config vars.
    pub config: Vec<(String, String)>,
}

/// What was compiled.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The slug's digest, when one was made.
    pub slug: Option<SlugDigest>,
    /// What the slug says of itself.
    pub description: Description,
}

impl Request {
    /// Writes the request as [`run`] reads it.
    pub fn frame(&self) -> anyhow::Result<Vec<u8>> {
        let text = serde_json::to_vec(self)?;
        let length = u32::try_from(text.len()).context("too many config vars")?;
        Ok([&length.to_le_bytes()[..], &text].concat())
    }
}
