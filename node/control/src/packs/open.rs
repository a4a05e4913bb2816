//! Packs made ready on this machine: prepared, compiled, started once; what is damaged is made anew.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use corundum_host::engine::Engine;
use corundum_host::log::LogSink;
use corundum_host::pack::{OpenStep, Pack, PackError};
use corundum_pack::PackDir;
use corundum_pack::ruby::{Edition, PrepareStep, prepare};

/// A step of making a pack ready, for whoever shows progress.
pub enum Step<'a> {
    /// Its files are being made.
    Prepare(PrepareStep),
    /// Its code is being made ready for the engine.
    Open(OpenStep<'a>),
}

/// Makes the pack of `edition` ready below `cache`: from npm, that takes a minute the first time; from source, several; later,
/// milliseconds. Blocks.
///
/// # Errors
///
/// It cannot be fetched, written or compiled.
pub fn open(
    engine: &Engine,
    edition: Edition,
    cache: &Path,
    mut progress: impl FnMut(Step<'_>) + Send,
) -> anyhow::Result<(PackDir, Pack)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut again = true;
    loop {
        let directory = prepare(edition, cache, |step| progress(Step::Prepare(step)))?;
        let said = Arc::new(Said::default());
        let opened = Pack::open(engine, &directory, said.clone(), |step| {
            progress(Step::Open(step));
        });
        match runtime.block_on(opened) {
            Ok(pack) => return Ok((directory, pack)),
            Err(PackError::Damaged { path, reason }) if again => {
                tracing::warn!(path = %path.display(), reason, "the pack is made anew");
                std::fs::remove_dir_all(path)?;
                again = false;
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                let said = said.text();
                return Err(if said.is_empty() {
                    error
                } else {
                    error.context(said)
                });
            }
        }
    }
}

/// What a pack's runtime says while it is started: the reason, where it does not start.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Said {
    const LINES: usize = 20;

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.join("\n")
    }
}

impl LogSink for Said {
    fn line(&self, line: &[u8]) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < Self::LINES {
            lines.push(String::from_utf8_lossy(line).into_owned());
        }
    }
}
