//! Opens a pack: prepares it if this machine has not done so yet, compiles its code, and runs its start code once. A
//! damaged pack is prepared again.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use corundum_host::engine::Engine;
use corundum_host::log::LogSink;
use corundum_host::pack::{OpenStep, Pack, PackError};
use corundum_pack::language::{LanguageSeries, PackKey};
use corundum_pack::ruby::{PrepareError, PrepareStep, prepare};
use corundum_pack::{PackDir, PackDirError};

/// A pack that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PackOpenError {
    /// The pack cannot be prepared.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// No pack of the series is installed.
    #[error("no pack of {0} is installed: the operator installs one with `corundum pack import`")]
    NotInstalled(LanguageSeries),
    /// An installed pack cannot be read.
    #[error(transparent)]
    Installed(#[from] PackDirError),
    /// The engine cannot open the pack.
    #[error(transparent)]
    Open(#[from] PackError),
    /// The pack's start code failed and wrote output.
    #[error("{output}: {cause}")]
    Start {
        /// The first lines that the runtime wrote.
        output: String,
        /// The failure.
        cause: PackError,
    },
    /// A damaged pack cannot be set aside, or no thread can be started.
    #[error("pack: {0}")]
    Io(#[from] io::Error),
    /// The node is shutting down.
    #[error("pack: opening it was interrupted")]
    Interrupted,
}

/// A step of opening a pack, for progress displays.
pub enum PackStep<'a> {
    /// The pack's files are being made.
    Prepare(PrepareStep),
    /// The pack's code is being compiled and started.
    Open(OpenStep<'a>),
}

/// Opens a pack below `cache`. A pack of Ruby is prepared first if it is not there: a minute from npm, several minutes from
/// source. Blocks.
///
/// # Errors
///
/// [`PackOpenError`].
pub fn open(
    engine: &Engine,
    key: &PackKey,
    cache: &Path,
    mut progress: impl FnMut(PackStep<'_>) + Send,
) -> Result<(PackDir, Pack), PackOpenError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut may_repair = true;
    loop {
        let directory = match key {
            PackKey::Ruby(edition) => {
                prepare(*edition, cache, |step| progress(PackStep::Prepare(step)))?
            }
            PackKey::Installed { .. } => {
                may_repair = false;
                PackDir::open(&key.path(cache))?
            }
        };
        let log = Arc::new(StartLog::default());
        let opened = Pack::open(engine, &directory, log.clone(), |step| {
            progress(PackStep::Open(step));
        });
        match runtime.block_on(opened) {
            Ok(pack) => return Ok((directory, pack)),
            Err(PackError::Damaged { path, reason }) if may_repair => {
                tracing::warn!(path = %path.display(), reason, "preparing a damaged pack again");
                set_aside(&path)?;
                may_repair = false;
            }
            Err(source) => {
                let output = log.text();
                return Err(if output.is_empty() {
                    source.into()
                } else {
                    PackOpenError::Start {
                        output,
                        cause: source,
                    }
                });
            }
        }
    }
}

/// Moves a damaged pack out of the way. It is kept, and replaces the one that was set aside before: building it may have taken
/// minutes, and only one of its files is damaged.
fn set_aside(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".damaged-{name}"));
    match std::fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::rename(path, aside)
}

/// The first lines that a pack's runtime writes while it starts: they explain a failed start.
#[derive(Default)]
struct StartLog(Mutex<Vec<String>>);

impl StartLog {
    const LINES: usize = 20;

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.join("\n")
    }
}

impl LogSink for StartLog {
    fn line(&self, line: &[u8]) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < Self::LINES {
            lines.push(String::from_utf8_lossy(line).into_owned());
        }
    }
}
