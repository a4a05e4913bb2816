//! Images: the memory of a booted app, written once and mapped copy-on-write by each dyno that is created from it.
//!
//! On disk an image is a directory of two files. `image.cwasm` is a compiled module that holds only a memory, globals
//! and data, so that compiling it takes no time and loading it maps the file. `image.json` names the pack and the
//! engine that it belongs to.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use corundum_pack::image::{GlobalValue, ImageGlobal, nonzero_runs, write_image};
use serde::{Deserialize, Serialize};
use wasmtime::{Instance, InstancePre, Linker, Store, Val};

use crate::compiled::{self, CompiledError};
use crate::engine::{Engine, LoadedImage};
use crate::guest_state::GuestState;

const MODULE: &str = "image.cwasm";
const DESCRIPTION: &str = "image.json";
/// Kernel mappings of a loaded image, and one of its app's slug.
pub(crate) const IMAGE_MAPPINGS: usize = 4;
/// Bytes of a page of the kernel, the unit of copy-on-write.
const PAGE: usize = 4096;
/// Bytes of a page of a WebAssembly memory.
const WASM_PAGE: usize = 64 << 10;

/// Failure to write or load an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The image is missing, damaged, or belongs to another engine. Booting the release again replaces it.
    #[error("the image at {} cannot be used: {reason}; boot the release again", path.display())]
    Stale {
        /// The image's directory.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// The image is whole, but the node has no room for it.
    #[error("cannot load the image at {}: {reason}", path.display())]
    Full {
        /// The image's directory.
        path: PathBuf,
        /// The limit and its remedy.
        reason: String,
    },
    /// The image cannot be written.
    #[error("cannot write the image at {}: {reason}", path.display())]
    Write {
        /// The image's directory.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
}

/// The pack and the engine that an image belongs to, and results of its boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDescription {
    /// Digest of the pack whose code runs in the image.
    pub pack: String,
    /// [`Engine::compatibility_key`] of the engine that wrote the image.
    pub engine: String,
    /// Time of the boot in seconds since 1970, which the app's files show as their own.
    pub born: u64,
    /// Pages that a request writes to, as offsets and lengths in bytes.
    #[serde(default)]
    pub hot_pages: Arc<[(usize, usize)]>,
    /// Address of the guest's interrupt flag, which the host sets when a time slice ends; 0 if the guest has none.
    #[serde(default)]
    pub interrupt: u32,
}

/// An image that dynos can be created from.
pub struct Image {
    instance: InstancePre<GuestState>,
    description: ImageDescription,
    /// `None` for the image of a pack.
    _loaded: Option<LoadedImage>,
}

impl Image {
    /// Compiles the bytes of a data-only module into an image, for a pack that is being prepared.
    ///
    /// # Errors
    ///
    /// Fails if the module is invalid or imports something.
    pub(crate) fn from_wasm(
        engine: &Engine,
        wasm: &[u8],
        description: ImageDescription,
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
        description: ImageDescription,
    ) -> wasmtime::Result<Self> {
        let instance = Linker::new(engine.wasmtime()).instantiate_pre(module)?;
        Ok(Self {
            instance,
            description,
            _loaded: None,
        })
    }

    /// Loads an image after checking that it is complete and belongs to this engine and to the pack of digest `pack`.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Stale`] if a check fails.
    pub fn load(engine: &Engine, path: &Path, pack: &str) -> Result<Self, ImageError> {
        let stale = |reason: String| ImageError::Stale {
            path: path.to_owned(),
            reason,
        };
        let description =
            fs::read(path.join(DESCRIPTION)).map_err(|error| stale(error.to_string()))?;
        let description: ImageDescription =
            serde_json::from_slice(&description).map_err(|error| stale(error.to_string()))?;
        if description.pack != pack {
            return Err(stale("it belongs to another pack".to_owned()));
        }
        if description.engine != engine.compatibility_key() {
            return Err(stale("it was written by another engine".to_owned()));
        }
        let loaded = engine.reserve_image().map_err(|limit| ImageError::Full {
            path: path.to_owned(),
            reason: limit.to_string(),
        })?;
        let module = compiled::load(engine, &path.join(MODULE));
        let module = module.map_err(|error: CompiledError| stale(error.to_string()))?;
        let image = Self::from_module(engine, &module, description);
        let image = image.map_err(|error| stale(format!("{error:#}")))?;
        Ok(Self {
            _loaded: Some(loaded),
            ..image
        })
    }

    /// Reads the description of the image at `path`, or `None` if there is no image.
    pub fn read_description(path: &Path) -> Option<ImageDescription> {
        serde_json::from_slice(&fs::read(path.join(DESCRIPTION)).ok()?).ok()
    }

    /// Writes `snapshot` as the image at `path`, a directory that does not exist yet.
    ///
    /// The image is written under another name and renamed, so that a crash leaves no partial image.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Write`] if the snapshot cannot be an image or the disk fails.
    pub(crate) fn write(
        engine: &Engine,
        snapshot: &ImageSnapshot<'_>,
        path: &Path,
        description: &ImageDescription,
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
        let wasm = snapshot.to_wasm().map_err(failed)?;
        compiled::write(engine, &wasm, &directory.path().join(MODULE))
            .map_err(|error| failed(error.to_string()))?;
        Self::write_description(directory.path(), description)?;
        let directory = directory.keep();
        fs::rename(&directory, path).map_err(|error| {
            let _ = fs::remove_dir_all(&directory);
            failed(error.to_string())
        })
    }

    /// Replaces the description of the image at `path`.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Write`] if the disk fails.
    pub(crate) fn write_description(
        path: &Path,
        description: &ImageDescription,
    ) -> Result<(), ImageError> {
        let failed = |reason: String| ImageError::Write {
            path: path.to_owned(),
            reason,
        };
        let text = serde_json::to_vec(description).map_err(|error| failed(error.to_string()))?;
        compiled::replace(&path.join(DESCRIPTION), |file| file.write_all(&text))
            .map_err(|error| failed(error.to_string()))
    }

    /// Returns the image's description.
    pub fn description(&self) -> &ImageDescription {
        &self.description
    }

    /// Returns the time of the boot.
    pub fn booted_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.description.born)
    }

    /// Returns the address of the guest's interrupt flag; 0 if it has none.
    pub(crate) fn interrupt(&self) -> u32 {
        self.description.interrupt
    }

    /// Returns the pages to copy before the first request, as offsets and lengths in bytes.
    pub(crate) fn hot_pages(&self) -> Arc<[(usize, usize)]> {
        self.description.hot_pages.clone()
    }

    /// Creates an instance of the image in `store`. The kernel copies a page when the guest first writes to it.
    pub(crate) async fn instantiate(
        &self,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<Instance> {
        self.instance.instantiate_async(store).await
    }
}

/// The memory and globals of a dyno between two calls.
pub(crate) struct ImageSnapshot<'a> {
    pub(crate) memory: &'a [u8],
    /// Globals by the names that the image exports them under.
    pub(crate) globals: Vec<(String, Val)>,
}

impl ImageSnapshot<'_> {
    /// Encodes the snapshot as a data-only module.
    fn to_wasm(&self) -> Result<Vec<u8>, String> {
        let globals = self.globals.iter().map(|(name, value)| {
            let value = match value {
                Val::I32(value) => GlobalValue::I32(*value),
                Val::I64(value) => GlobalValue::I64(*value),
                Val::F32(bits) => GlobalValue::F32(*bits),
                Val::F64(bits) => GlobalValue::F64(*bits),
                other => {
                    return Err(format!(
                        "global {name} has a type that an image cannot hold: {other:?}"
                    ));
                }
            };
            Ok(ImageGlobal {
                name: name.clone(),
                value,
            })
        });
        let globals = globals.collect::<Result<Vec<_>, String>>()?;
        let pages = (self.memory.len() / WASM_PAGE) as u64;
        Ok(write_image(
            pages,
            None,
            &globals,
            nonzero_runs(self.memory),
        ))
    }
}

/// Returns the pages of `after` that differ from those of `before`, as runs of an offset and a length in bytes.
///
/// Runs that are one page apart are joined, because a further run costs more than a further page.
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
