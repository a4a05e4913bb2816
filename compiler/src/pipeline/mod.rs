//! The build pipeline, from the pushed tree to the image of a booted app.
//!
//! Each stage consumes the result of the one before, so that no stage can run early or twice:
//!
//! | stage | file | result |
//! |---|---|---|
//! | read the pushed tree | `source.rs` | [`SourceApp`](source::SourceApp) |
//! | install its libraries | `bundle.rs` | [`BundledApp`](bundle::BundledApp) |
//! | compile its assets | `precompile.rs` | the same |
//! | write the slug | `slug.rs` | [`CompiledSlug`](slug::CompiledSlug) |
//! | boot the slug and write the image | `boot.rs` | [`BuiltApp`] |

mod boot;
mod bundle;
mod env;
mod error;
mod extensions;
mod gemfile;
mod not_run;
mod precompile;
mod slug;
mod source;
mod tree_archive;

use std::io::{Read, Write};
use std::path::Path;

pub use self::boot::{BuiltApp, IMAGE_DIRECTORY};
pub use self::env::BuildEnv;
pub use self::error::{BuildError, BuildPhase};
pub use self::gemfile::GemfileError;
use self::slug::CompiledSlug;
pub use self::slug::SLUG_FILE;
use self::source::SourceApp;
use crate::report::BuildReport;
use crate::sandbox::Sandbox;

/// Builds the app whose tree `tar` contains: writes its slug and its image into the build's output directory.
///
/// # Errors
///
/// [`BuildError`].
pub fn build_tree<S: Sandbox>(
    tar: impl Read,
    env: &BuildEnv<'_, S>,
    report: &mut BuildReport<impl Write>,
) -> Result<BuiltApp, BuildError> {
    let source = SourceApp::read(tar, env, report)?;
    let bundled = source.install_libraries(env, report)?;
    let compiled = bundled.compile_assets(env, report)?;
    let slug = compiled.write_slug(env, report)?;
    slug.boot(env, report)
}

/// Boots the existing slug at `path` and writes its image into the build's output directory.
///
/// # Errors
///
/// [`BuildError`].
pub fn rebuild_image<S: Sandbox>(
    path: &Path,
    env: &BuildEnv<'_, S>,
    report: &mut BuildReport<impl Write>,
) -> Result<BuiltApp, BuildError> {
    CompiledSlug::open(path, env)?.boot(env, report)
}
