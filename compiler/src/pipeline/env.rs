//! Environment of one build.

use std::path::Path;
use std::time::Duration;

use corundum_abi::outbound::OutboundPolicy;

use crate::gems::GemSources;
use crate::sandbox::Sandbox;

/// Sandbox, paths and limits that the stages of one build share.
pub struct BuildEnv<'a, S: Sandbox> {
    /// Engine with the app's pack.
    pub sandbox: &'a S,
    /// Directory for the slug and the image.
    pub output: &'a Path,
    /// Sources of gems besides the app's own `vendor/cache`.
    pub gem_sources: GemSources<'a>,
    /// Directory of compilers, libraries and built extensions.
    pub cache: &'a Path,
    /// Directory of the app's pack.
    pub pack: &'a Path,
    /// Time that the sandbox gives the Gemfile, for its error message.
    pub gemfile_timeout: Duration,
    /// Bytes of a slug.
    pub slug_limit: u64,
    /// Host and port at which the app is served.
    pub host: &'a str,
    /// The app's config vars.
    pub config: &'a [(String, String)],
    /// The operator's policy for connections that the app opens.
    pub outbound: &'a OutboundPolicy,
}
