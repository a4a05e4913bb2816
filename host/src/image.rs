//! Images: the memory of a booted app, written once, and mapped copy-on-write by every dyno made from it.
//!
//! On disk an image is a directory: `image.cwasm`, a compiled module that holds nothing but a memory, globals and data
//! (so "compiling" it takes no time and loading it maps the file), and `image.json`, which says what it belongs to.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use corundum_pack::image::{GlobalValue, ImageGlobal, nonzero_runs, write_image};
use serde::{Deserialize, Serialize};
use wasmtime::{Instance, InstancePre, Linker, Store, Val};

use crate::compiled::{self, CompiledError};
use crate::dyno::{Dyno, State};
use crate::engine::Engine;

const MODULE: &str = "image.cwasm";
const DESCRIPTION: &str = "image.json";
/// Pages are the kernel's.
const PAGE: usize = 4096;

/// An image cannot be written or loaded.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is missing, damaged, or of another engine: it must be made anew, by a boot of the release.
    #[error("the image at {} must be made anew: {reason}", path.display())]
    Stale {
        /// Where it is.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// It cannot be written.
    #[error("the image at {} cannot be written: {reason}", path.display())]
    Write {
        /// Where it should be.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
}

/// What an image belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The digest of the pack whose code runs in it.
    pub pack: String,
    /// [`Engine::compatibility_key`] of its maker.
    pub engine: String,
    /// Seconds since 1970 when it was booted: the time that the app's files show.
    pub born: u64,
    /// Pages that a request is known to write to: offset and length in bytes.
    #[serde(default)]
    pub hot_pages: Arc<[(usize, usize)]>,
    /// Where in its memory the guest wants to be told that a time slice has ended; 0 if it does not.
    #[serde(default)]
    pub interrupt: u32,
}

/// An image that dynos can be made from.
pub struct Image {
    instance: InstancePre<State>,
    description: Description,
}

impl Image {
    /// Makes an image from the bytes of a data-only module, for a pack that is being prepared.
    ///
    /// # Errors
    ///
    /// The module is invalid or imports something.
    pub(crate) fn from_wasm(
        engine: &Engine,
        wasm: &[u8],
        description: Description,
    ) -> wasmtime::Result<Self> {
        Self::from_module(
            engine,
            &wasmtime::Module::new(engine.wasmtime(), wasm)?,
            description,
        )
    }

    fn from_module(
        engine: &Engine,
        module: &wasmtime::Module,
        description: Description,
    ) -> wasmtime::Result<Self> {
        let instance = Linker::new(engine.wasmtime()).instantiate_pre(module)?;
        Ok(Self {
            instance,
            description,
        })
    }

    /// Loads an image, having checked that it is whole and belongs to this engine and to the pack of digest `pack`.
    ///
    /// # Errors
    ///
    /// [`ImageError::Stale`].
    pub fn load(engine: &Engine, path: &Path, pack: &str) -> Result<Self, ImageError> {
        let stale = |reason: String| ImageError::Stale {
            path: path.to_owned(),
            reason,
        };
        let description =
            fs::read(path.join(DESCRIPTION)).map_err(|error| stale(error.to_string()))?;
        let description: Description =
            serde_json::from_slice(&description).map_err(|error| stale(error.to_string()))?;
        if description.pack != pack {
            return Err(stale("it was made for another pack".to_owned()));
        }
        if description.engine != engine.compatibility_key() {
            return Err(stale("it was made by another engine".to_owned()));
        }
        let module = compiled::load(engine, &path.join(MODULE));
        let module = module.map_err(|error: CompiledError| stale(error.to_string()))?;
        Self::from_module(engine, &module, description).map_err(|error| stale(format!("{error:#}")))
    }

    /// What the image at `path` says of itself; none if there is no image.
    pub fn read_description(path: &Path) -> Option<Description> {
        serde_json::from_slice(&fs::read(path.join(DESCRIPTION)).ok()?).ok()
    }

    /// Writes the memory of `dyno`, which has booted and is between calls, as the image at `path` (a directory that
    /// does not exist yet). It appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`ImageError::Write`].
    pub fn write(
        engine: &Engine,
        dyno: &mut Dyno,
        path: &Path,
        description: &Description,
    ) -> Result<(), ImageError> {
        let failed = |reason: String| ImageError::Write {
            path: path.to_owned(),
            reason,
        };
        let parent = path.parent().unwrap_or(Path::new("."));
        let directory = tempfile::Builder::new()
            .prefix(".image-")
            .tempdir_in(parent);
        let directory = directory.map_err(|error| failed(error.to_string()))?;
        let wasm = snapshot(dyno).map_err(failed)?;
        compiled::write(engine, &wasm, &directory.path().join(MODULE))
            .map_err(|error| failed(error.to_string()))?;
        Self::describe(directory.path(), description)?;
        let directory = directory.keep();
        fs::rename(&directory, path).map_err(|error| {
            let _ = fs::remove_dir_all(&directory);
            failed(error.to_string())
        })
    }

    /// Writes what is known of the image at `path`.
    ///
    /// # Errors
    ///
    /// [`ImageError::Write`].
    pub(crate) fn describe(path: &Path, description: &Description) -> Result<(), ImageError> {
        let failed = |reason: String| ImageError::Write {
            path: path.to_owned(),
            reason,
        };
        let text = serde_json::to_vec(description).map_err(|error| failed(error.to_string()))?;
        compiled::replace(&path.join(DESCRIPTION), |file| file.write_all(&text))
            .map_err(|error| failed(error.to_string()))
    }

    /// What it belongs to.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// When it was booted.
    pub fn born(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.description.born)
    }

    /// Where the guest wants to be told that a time slice has ended; 0 if it does not.
    pub(crate) fn interrupt(&self) -> u32 {
        self.description.interrupt
    }

    /// Pages worth filling before a request comes.
    pub(crate) fn hot_pages(&self) -> Arc<[(usize, usize)]> {
        self.description.hot_pages.clone()
    }

    pub(crate) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Instance> {
        self.instance.instantiate_async(store).await
    }
}

/// The data-only module of a dyno's memory and globals.
fn snapshot(dyno: &mut Dyno) -> Result<Vec<u8>, String> {
    let globals = dyno.globals().into_iter().map(|(name, value)| {
        let value = match value {
            Val::I32(value) => GlobalValue::I32(value),
            Val::I64(value) => GlobalValue::I64(value),
            Val::F32(bits) => GlobalValue::F32(bits),
            Val::F64(bits) => GlobalValue::F64(bits),
            other => {
                return Err(format!(
                    "global {name} has a type no image can hold: {other:?}"
                ));
            }
        };
        Ok(ImageGlobal { name, value })
    });
    let globals = globals.collect::<Result<Vec<_>, String>>()?;
    let memory = dyno.memory();
    let pages = (memory.len() / (64 << 10)) as u64;
    Ok(write_image(pages, None, &globals, nonzero_runs(memory)))
}

/// The pages of `after` that differ from those of `before`, in runs: offset and length in bytes. Gaps of one page are
/// filled, since a run costs more than a page.
pub(crate) fn changed_pages(before: &[u8], after: &[u8]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (index, page) in after.chunks(PAGE).enumerate() {
        let offset = index * PAGE;
        if before.get(offset..offset + page.len()) == Some(page) {
            continue;
        }
        match runs.last_mut() {
            Some((start, length)) if *start + *length + PAGE >= offset => {
                *length = offset + page.len() - *start;
            }
            _ => runs.push((offset, page.len())),
        }
    }
    runs
}
