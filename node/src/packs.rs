//! Packs made ready on this machine: prepared, compiled, started once; what is damaged is made anew.

use std::path::Path;
use std::sync::Arc;

use corundum_host::engine::Engine;
use corundum_host::log::Discard;
use corundum_host::pack::{Pack, PackError, Step as OpenStep};
use corundum_sdk::pack::PackDir;
use corundum_sdk::pack::ruby::{Series, Step as PrepareStep, prepare};

/// A step of making a pack ready, for whoever shows progress.
pub(crate) enum Step<'a> {
    /// Its files are being made.
    Prepare(PrepareStep),
    /// Its code is being made ready for the engine.
    Open(OpenStep<'a>),
}

/// Makes the pack of `series` ready below `cache`, which takes a minute the first time and milliseconds later. Blocks.
///
/// # Errors
///
/// It cannot be fetched, written or compiled.
pub(crate) fn open(
    engine: &Engine,
    series: Series,
    cache: &Path,
    mut progress: impl FnMut(Step<'_>),
) -> anyhow::Result<(PackDir, Pack)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut again = true;
    loop {
        let directory = prepare(series, cache, |step| progress(Step::Prepare(step)))?;
        let log = Arc::new(Discard);
        let opened = Pack::open(engine, &directory, log, |step| progress(Step::Open(step)));
        match runtime.block_on(opened) {
            Ok(pack) => return Ok((directory, pack)),
            Err(PackError::Damaged { path, reason }) if again => {
                tracing::warn!(path = %path.display(), reason, "the pack is made anew");
                std::fs::remove_dir_all(path)?;
                again = false;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
