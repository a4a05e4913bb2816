//! Builds the native extensions of an app's gems and adds them to its tree.

use std::io::Write;
use std::sync::Arc;

use corundum_pack::archive::{Archive, FileMode};

use super::env::BuildEnv;
use super::error::BuildError;
use super::tree_archive;
use crate::extensions::{ExtensionBuildError, ExtensionBuilder, NativeGem};
use crate::gems;
use crate::report::BuildReport;
use crate::sandbox::Sandbox;
use crate::tree::{Tree, TreeError};

/// The platform of extensions, as RubyGems names it.
const PLATFORM: &str = "wasm32-wasi";
/// File by which RubyGems knows that the extensions of a gem are built.
const COMPLETE: &str = "gem.build_complete";
/// Folder of the installed gems.
const GEMS: &str = "vendor/bundle/";

/// Characters of the last line of a failed build that the pusher sees, if the pack has another version of the gem.
const MAX_REASON: usize = 200;

/// Builds the extensions of `native`, which are installed in `tree`.
pub(super) fn add<S: Sandbox>(
    env: &BuildEnv<'_, S>,
    tree: &mut Tree,
    native: &[NativeGem],
    report: &mut BuildReport<impl Write>,
) -> Result<(), BuildError> {
    if native.is_empty() {
        return Ok(());
    }
    // Scripts of one gem may require another.
    let files = tree_archive::write(tree, |path| path.starts_with(GEMS), Vec::new())?;
    let files = Arc::new(Archive::new(files).map_err(TreeError::from)?);
    let builder = ExtensionBuilder {
        sandbox: env.sandbox,
        cache: env.cache,
        pack: env.pack,
    };
    let series = &env.sandbox.manifest().series;
    for gem in native {
        let built = builder.build(gem, &files, |line| {
            report.detail(&format!("{}: {line}", gem.full_name))
        });
        let installed = match (built, &gem.replacement) {
            (Ok(installed), _) => installed,
            (Err(error), Some(replacement)) => {
                let reason = not_built(error)?;
                let reason = reason.as_str();
                let line = gems::use_pack_gem(tree, series, replacement, reason)?;
                report.detail(&line);
                continue;
            }
            (Err(error), None) => return Err(error.into()),
        };
        for (path, bytes) in &installed {
            let path = format!("{}/lib/{path}", gem.directory);
            tree.add(&path, bytes, FileMode::Plain)?;
        }
        // Repositories are not in the gem home, and Bundler looks for no such file of theirs.
        if let Some((home, name)) = gem.directory.split_once("/gems/") {
            let path = format!("{home}/extensions/{PLATFORM}/{series}.0-static/{name}/{COMPLETE}");
            tree.add(&path, b"", FileMode::Plain)?;
        }
    }
    Ok(())
}

/// Returns why the pack's version of a gem is used in place of one that was not built, unless the node itself failed.
fn not_built(error: ExtensionBuildError) -> Result<String, ExtensionBuildError> {
    match error {
        ExtensionBuildError::Toolchain(_) | ExtensionBuildError::Sysroot(_) => {
            tracing::warn!(%error, "the pack's version of a gem is used");
            Ok("the node cannot get what compiles the locked version".to_owned())
        }
        error if error.is_platform_fault() => Err(error),
        error => {
            let text = error.to_string();
            let last = text
                .lines()
                .rev()
                .map(str::trim)
                .find(|line| !line.is_empty());
            let last: String = last.unwrap_or_default().chars().take(MAX_REASON).collect();
            Ok(format!("the locked version does not compile: {last}"))
        }
    }
}
