//! Images: the memory of a booted app, written once and mapped copy-on-write by each dyno that is created from it.
//!
//! An image at rest is a `patch`: its difference from the memory of the pack's sample app (`base`), some kilobytes for
//! a small app. It depends on the pack, but not on the engine. The engine maps the `full` file, a compiled module
//! that holds only a memory, globals and data, so that compiling it takes no time and loading it maps the file.
//! [`cache`] makes full files when they are first used. The pack's own base has a full file too, in its directory.

mod base;
pub mod cache;
mod files;
mod full;
mod pages;
mod patch;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use corundum_pack::archive::Archive;
use corundum_pack::image::PAGE;
use corundum_pack::validate::validate_guest;
use serde::{Deserialize, Serialize};
use wasmtime::{Instance, InstancePre, Linker, Store, Val};

pub(crate) use self::base::BaseMemory;
pub use self::files::DamagedFiles;
use self::files::ImageFiles;
use self::pages::{MemoryShape, nonzero_pages};
use self::patch::ImagePatch;
use crate::compiled::{self, CompiledError};
use crate::engine::Engine;
use crate::extensions::{ExtensionCode, ExtensionCodeError, ExtensionPlace, ExtensionRecord};
use crate::guest_state::{GuestState, InterruptFlag};
use crate::loaded_image::LoadedImage;
use crate::native;
use crate::os::BootLayer;
use crate::pack::Pack;

const MODULE: &str = "image.cwasm";
const DESCRIPTION: &str = "image.json";
/// The file of a new image that becomes the first full file, in the directory of its patch.
const FULL: &str = "full.cwasm";

/// Returns the name of the file that holds the patch for a pack, in the directory of an image. A directory may hold
/// patches for several packs.
pub fn patch_file(pack: &str) -> String {
    format!("{}.patch", pack.get(..16).unwrap_or(pack))
}

/// Returns whether [`compact`] has compressed the patch at `path`.
///
/// # Errors
///
/// Fails if the file cannot be read or is no patch.
pub fn is_compact(path: &Path) -> io::Result<bool> {
    patch::is_compact_file(path)
}

/// Compresses the patch at `path`, which belongs to `pack`, as well as possible. It takes seconds. A reader finds either the
/// earlier file or the new one.
///
/// # Errors
///
/// Returns [`ImageError::Stale`] if the patch cannot be read or has another base, [`ImageError::Write`] if the disk fails.
pub fn compact(path: &Path, pack: &Pack) -> Result<(), ImageError> {
    let patch = ImagePatch::read(path)?.compact(pack.base_memory());
    let patch = patch.map_err(|reason| ImageError::stale(path, &reason))?;
    patch.write(path)
}

/// Returns the digests of the extensions that the image of a patch has loaded.
///
/// # Errors
///
/// Returns [`ImageError::Stale`] if the patch cannot be read.
pub fn loaded_extensions(path: &Path) -> Result<Vec<String>, ImageError> {
    let patch = ImagePatch::read(path)?;
    let records = patch.description().extensions.iter();
    Ok(records.map(|record| record.digest.clone()).collect())
}

/// Removes from a patch the part that only its engine can use, as if an engine of another version had written it. Tests
/// of upgrades use it.
///
/// # Errors
///
/// Returns [`ImageError::Stale`] if the patch cannot be read, [`ImageError::Write`] if it cannot be written.
#[doc(hidden)]
pub fn forget_engine(patch: &Path) -> Result<(), ImageError> {
    let mut read = ImagePatch::read(patch)?;
    read.clear_frame();
    read.write(patch)
}

/// Returns the path of the full file that a build leaves in the directory of a new image.
pub fn built_full_file(directory: &Path) -> PathBuf {
    directory.join(FULL)
}

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
        /// The image's file.
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
    /// The node is shutting down.
    #[error("loading an image was interrupted")]
    Interrupted,
}

impl ImageError {
    fn stale(path: &Path, reason: &str) -> Self {
        Self::Stale {
            path: path.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// The pack that an image belongs to, and results of its boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDescription {
    /// Digest of the pack whose code runs in the image.
    pub pack: String,
    /// Time of the boot in seconds since 1970, which the app's files show as their own.
    pub born: u64,
    /// Pages that a request writes to, as offsets and lengths in bytes.
    #[serde(default)]
    pub hot_pages: Arc<[(usize, usize)]>,
    /// The guest's interrupt flag, which the host sets when a time slice ends.
    #[serde(default)]
    pub(crate) interrupt: InterruptFlag,
    /// Native extensions that the app has loaded, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<ExtensionRecord>,
}

/// An image that dynos can be created from.
pub struct Image {
    instance: InstancePre<GuestState>,
    description: ImageDescription,
    /// The files that the boot has left, if there are any.
    files: Option<ImageFiles>,
    /// Code and places of the native extensions.
    extensions: Vec<(Arc<ExtensionCode>, ExtensionPlace)>,
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
        validate_guest(wasm)?;
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
            files: None,
            extensions: Vec::new(),
            _loaded: None,
        })
    }

    /// Loads the base image of a pack after checking that it is complete and belongs to the pack of digest `pack`.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Stale`] if a check fails.
    pub(crate) fn load_base(engine: &Engine, path: &Path, pack: &str) -> Result<Self, ImageError> {
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
        let module = compiled::load(engine, &path.join(MODULE));
        let module = module.map_err(|error: CompiledError| stale(error.to_string()))?;
        Self::from_module(engine, &module, description).map_err(|error| stale(format!("{error:#}")))
    }

    /// Writes `wasm`, the memory of a started runtime, as the base image of a pack: at `path`, a directory that does not
    /// exist yet.
    ///
    /// The image is written under another name and renamed, so that a crash leaves no partial image.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Write`] if the module is invalid or the disk fails.
    pub(crate) fn write_base(
        engine: &Engine,
        wasm: &[u8],
        path: &Path,
        description: &ImageDescription,
    ) -> Result<(), ImageError> {
        let failed = |reason: String| ImageError::Write {
            path: path.to_owned(),
            reason,
        };
        let directory = new_directory(path).map_err(failed)?;
        compiled::write(engine, wasm, &directory.path().join(MODULE))
            .map_err(|error| failed(error.to_string()))?;
        let text = serde_json::to_vec(description).map_err(|error| failed(error.to_string()))?;
        compiled::replace(&directory.path().join(DESCRIPTION), |file| {
            file.write_all(&text)
        })
        .map_err(|error| failed(error.to_string()))?;
        keep(directory, path).map_err(failed)
    }

    /// Loads the image that a boot has just left in `directory`, without a check: nothing may have changed it since.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Stale`] if the patch or the full file is missing.
    pub fn load_built(engine: &Engine, pack: &Pack, directory: &Path) -> Result<Self, ImageError> {
        let patch = directory.join(patch_file(&pack.manifest().digest));
        let patch = ImagePatch::read(&patch)?;
        let description = patch.description().clone();
        let files = patch.files().to_vec();
        Self::map(
            engine,
            pack,
            &built_full_file(directory),
            description,
            files,
        )
    }

    /// Maps a full file that this program has written. `files` are the encoded files of the image; empty for none.
    fn map(
        engine: &Engine,
        pack: &Pack,
        path: &Path,
        description: ImageDescription,
        files: Vec<u8>,
    ) -> Result<Self, ImageError> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let files = match files.is_empty() {
            true => None,
            false => Some(ImageFiles::new(files, directory)?),
        };
        let mut extensions = Vec::new();
        for record in &description.extensions {
            let code = pack.extensions().load(&record.digest);
            let stale = |error: ExtensionCodeError| {
                let reason = format!("a native extension cannot be loaded: {error}");
                ImageError::stale(path, &reason)
            };
            let place = ExtensionPlace {
                memory_base: record.memory_base,
                table_base: record.table_base,
            };
            extensions.push((code.map_err(stale)?, place));
        }
        let loaded = engine.reserve_image().map_err(|limit| ImageError::Full {
            path: path.to_owned(),
            reason: limit.to_string(),
        })?;
        let image = native::load_module(engine.wasmtime(), path)
            .and_then(|module| Self::from_module(engine, &module, description));
        let image = image.map_err(|error| ImageError::stale(path, &format!("{error:#}")))?;
        Ok(Self {
            files,
            extensions,
            _loaded: Some(loaded),
            ..image
        })
    }

    /// Returns the image's description.
    pub fn description(&self) -> &ImageDescription {
        &self.description
    }

    /// Returns the files that the boot has left beside those of `slug`; `root` is the pack's root filesystem.
    ///
    /// # Errors
    ///
    /// Returns [`DamagedFiles`] if they belong to another slug.
    pub fn files(
        &self,
        slug: Option<&Archive>,
        root: &Archive,
    ) -> Result<Option<Arc<BootLayer>>, DamagedFiles> {
        let files = self.files.as_ref();
        files.map(|files| files.index(slug, root)).transpose()
    }

    /// Returns the time of the boot.
    pub fn booted_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.description.born)
    }

    /// Returns the location of the guest's interrupt flag.
    pub(crate) fn interrupt(&self) -> InterruptFlag {
        self.description.interrupt
    }

    /// Returns the pages to copy before the first request, as offsets and lengths in bytes.
    pub(crate) fn hot_pages(&self) -> Arc<[(usize, usize)]> {
        self.description.hot_pages.clone()
    }

    /// Returns the code and the places of the native extensions.
    pub(crate) fn extensions(&self) -> &[(Arc<ExtensionCode>, ExtensionPlace)] {
        &self.extensions
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
    fn shape(&self) -> Result<MemoryShape, String> {
        MemoryShape::new(self.memory.len(), &self.globals)
    }

    /// Encodes the snapshot as a data-only module.
    pub(crate) fn to_wasm(&self) -> Result<Vec<u8>, String> {
        Ok(self.shape()?.to_wasm(&nonzero_pages(self.memory)))
    }
}

/// An image that is being written: its full file exists, so that it can be tried before its patch is written.
pub(crate) struct NewImage<'a> {
    directory: tempfile::TempDir,
    snapshot: &'a ImageSnapshot<'a>,
    frame: Option<full::FullFrame>,
    /// Encoded files; empty for none.
    files: Vec<u8>,
    path: &'a Path,
}

impl<'a> NewImage<'a> {
    /// Writes the full file of `snapshot` for the image at `path`, a directory that does not exist yet. `files` are the
    /// encoded files of the image; empty for none.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Write`] if the snapshot cannot be an image or the disk fails.
    pub(crate) fn write_full(
        engine: &Engine,
        snapshot: &'a ImageSnapshot<'a>,
        files: Vec<u8>,
        path: &'a Path,
    ) -> Result<Self, ImageError> {
        let failed = |reason: String| ImageError::Write {
            path: path.to_owned(),
            reason,
        };
        let directory = new_directory(path).map_err(failed)?;
        let shape = snapshot.shape().map_err(failed)?;
        let io = |error: std::io::Error| failed(error.to_string());
        // The memory holds config vars.
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(built_full_file(directory.path()))
            .map_err(io)?;
        let frame = full::compile(engine, &shape, &nonzero_pages(snapshot.memory), &file);
        Ok(Self {
            directory,
            snapshot,
            frame: frame.map_err(io)?,
            files,
            path,
        })
    }

    /// Maps the full file.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Stale`] if the file cannot be mapped.
    pub(crate) fn load(
        &self,
        engine: &Engine,
        pack: &Pack,
        description: ImageDescription,
    ) -> Result<Image, ImageError> {
        let full = built_full_file(self.directory.path());
        Image::map(engine, pack, &full, description, self.files.clone())
    }

    /// Writes the patch, then gives the image its name.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Write`] if the disk fails.
    pub(crate) fn finish(
        self,
        base: &BaseMemory,
        description: ImageDescription,
    ) -> Result<(), ImageError> {
        let failed = |reason: String| ImageError::Write {
            path: self.path.to_owned(),
            reason,
        };
        let patch = self.directory.path().join(patch_file(&description.pack));
        let shape = self.snapshot.shape().map_err(failed)?;
        let pages = nonzero_pages(self.snapshot.memory);
        ImagePatch::new(description, base, shape, &pages, self.frame)
            .map_err(failed)?
            .with_files(self.files)
            .write(&patch)?;
        keep(self.directory, self.path).map_err(failed)
    }
}

/// Creates a directory beside `path` that is removed unless it gets that name.
fn new_directory(path: &Path) -> Result<tempfile::TempDir, String> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let directory = tempfile::Builder::new()
        .prefix(".image-")
        .tempdir_in(parent);
    directory.map_err(|error| error.to_string())
}

/// Gives a finished directory its name.
fn keep(directory: tempfile::TempDir, path: &Path) -> Result<(), String> {
    let directory = directory.keep();
    fs::rename(&directory, path).map_err(|error| {
        let _ = fs::remove_dir_all(&directory);
        error.to_string()
    })
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
